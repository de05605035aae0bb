"""The targets that heads are chosen by: one figure for each held-out text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from alignkit.errors import ConfigError
from alignkit.evaluation.aligning import align
from alignkit.heads.base import Head
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.retrieval import judge_by_label, ranking_overlap, recall_at_k
from alignkit.metrics.self_retrieval import self_retrieval
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.evaluation_set import most_sentences
from alignkit.pairs.views import own_and_extra, take_pairs
from alignkit.training.whitening_choice import SELF_MRR
from alignkit.vectors import cosine, top_k

COSINE = "cosine"
NO_LABELS = "target=recall@10 needs sentences with labels and these have none; take target=overlap@10"


@torch.inference_mode()
def figures_of(head: Head, splits: PairSplits, target: str, seed: int) -> np.ndarray:
    """One figure of a head for each of at most 5,000 validation texts: `(Q,)` float64, NaN where undefined.

    Args:
        head: on the CPU.
        splits: the validation pairs are the queries; the corpus also holds the user's own training pairs.
        target: of `TARGETS`.
        seed: of the samples.
    """
    most = most_sentences(splits.train.teacher_dim)
    own, _ = own_and_extra(splits.train)
    pairs, others = (
        take_pairs(part, sample_rows(len(part), count, seed).numpy())
        for part, count in ((splits.validation, most), (own, max(0, most - len(splits.validation))))
    )
    # the corpus also holds the teacher's vectors of training sentences: a few sentences lie far apart, and any head
    # finds the nearest among them
    corpus = torch.from_numpy(np.concatenate([np.asarray(part.teacher, dtype=np.float32) for part in (pairs, others)]))
    return TARGETS[target](align(head, pairs.student), corpus, pairs).astype(np.float64)


def mean_of_known(figures: np.ndarray) -> float:
    """Mean of the defined figures; NaN if there are none."""
    known = figures[np.isfinite(figures)]
    return float(known.mean()) if len(known) else float("nan")


def _overlap(aligned: Tensor, corpus: Tensor, pairs: Pairs) -> np.ndarray:
    itself = torch.arange(len(aligned))
    wanted, found = (
        top_k(queries, corpus, min(10, len(corpus) - 1), exclude=itself)[1].numpy()
        for queries in (corpus[: len(aligned)], aligned)
    )
    return ranking_overlap(found, wanted, 10)


def _cosine(aligned: Tensor, corpus: Tensor, pairs: Pairs) -> np.ndarray:
    return cosine(aligned, corpus[: len(aligned)]).numpy()


def _self_mrr(aligned: Tensor, corpus: Tensor, pairs: Pairs) -> np.ndarray:
    return self_retrieval(aligned, corpus, torch.arange(len(aligned))).reciprocal_ranks.numpy()


def _recall(aligned: Tensor, corpus: Tensor, pairs: Pairs) -> np.ndarray:
    if pairs.labels is None:
        raise ConfigError(NO_LABELS)
    itself = torch.arange(len(aligned))
    found = top_k(aligned, corpus[: len(aligned)], 10, exclude=itself)[1].numpy()
    return recall_at_k(judge_by_label(found, pairs.labels, pairs.labels, exclude=itself.numpy()), 10)


# aligned queries `(Q, D)`, a corpus whose first Q rows are theirs, the pairs → `(Q,)`
TARGETS: dict[str, Callable[[Tensor, Tensor, Pairs], np.ndarray]] = {
    "overlap@10": _overlap,
    SELF_MRR: _self_mrr,
    COSINE: _cosine,
    "recall@10": _recall,
}
