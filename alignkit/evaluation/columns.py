"""The columns of the table: everything that is measured of a row, each with its key, its heading and its meaning.

A new column is one line here, and the one place that measures it.
"""

from __future__ import annotations

from enum import StrEnum


class Column(StrEnum):
    """A figure of a row. The value is its key in `metrics.json`, the CSV and TensorBoard.

    Attributes:
        heading: fits a table on a terminal of 80 columns.
        meaning: one line for a reader who sees the figure for the first time.

    >>> Column.NDCG_10 == "ndcg@10", Column("ndcg@10").heading
    (True, 'nDCG@10')
    """

    heading: str
    meaning: str

    def __new__(cls, key: str, heading: str = "", meaning: str = "") -> Column:
        """A key that knows what it means."""
        column = str.__new__(cls, key)
        column._value_ = key
        column.heading, column.meaning = heading, meaning
        return column

    COSINE_MEAN = "cosine_mean", "cos", "mean cosine of each vector with its teacher vector"
    COSINE_P05 = "cosine_p05", "P5", "5th percentile of those cosines: how bad the bad ones are"
    COSINE_P50 = "cosine_p50", "P50", "their median"
    COSINE_P95 = "cosine_p95", "P95", "95th percentile: how good the good ones are"
    COSINE_CENTERED_MEAN = (
        "cosine_centered_mean",
        "centred",
        "the same after the mean teacher vector of the training split is taken off both sides; the mean row falls to 0",
    )
    R2 = "r2", "R2", "1 - residual / variance over all dimensions; 1 is perfect, 0 is as good as the mean"
    SPEARMAN = (
        "spearman",
        "Spearman",
        "rank correlation of the similarities of sentence pairs, the teacher's against these vectors'",
    )
    CKA = (
        "cka",
        "CKA",
        "likeness of the whole space to the teacher's, blind to rotation (debiased linear CKA); widths may differ",
    )
    OVERLAP_10 = (
        "overlap@10",
        "overlap@10",
        "share of the teacher's own first ten hits that are among this row's first ten; needs no judgements",
    )
    RECALL_1 = "recall@1", "R@1", "share of a query's relevant texts at the first place"
    RECALL_5 = "recall@5", "R@5", "share of a query's relevant texts among the first five"
    RECALL_10 = "recall@10", "R@10", "share of a query's relevant texts among the first ten"
    MRR = "mrr", "MRR", "1 / place of the first relevant hit, averaged (looked for among the first 100)"
    MRR_10 = "mrr@10", "MRR@10", "the same among the first ten"
    NDCG_10 = (
        "ndcg@10",
        "nDCG@10",
        "how near the order of the first ten is to the best possible one (gain = grade, as trec_eval)",
    )
    SELF_MRR = (
        "self_mrr",
        "self MRR",
        "1 / place of a query's own teacher vector among the corpus and the other queries; needs no judgements",
    )
    SELF_RECALL_1 = "self_recall@1", "self R@1", "share of queries whose own teacher vector comes first there"
    HUMAN_SPEARMAN = "human_spearman", "human", "rank correlation of the cosines with people's likeness scores"
