"""What every row found, as figures of each query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alignkit.evaluation.columns import Column
from alignkit.evaluation.rankings import Ranking
from alignkit.evaluation.table_rows import RowName
from alignkit.metrics.retrieval import ndcg_at_k, ranking_overlap, recall_at_k, reciprocal_rank
from alignkit.pairs.evaluation_set import EvaluationSet

QueryFigures = dict[Column, dict[RowName, np.ndarray]]


def figures_by_query(test: EvaluationSet, rankings: Mapping[RowName, Ranking]) -> QueryFigures:
    """Measure → row → `(Q,)` figures in [0, 1], NaN where undefined; without judgements `overlap@10` alone.

    Args:
        test: what was searched.
        rankings: of the rows; `teacher` is among them.
    """
    names = [name for name in RowName if name in rankings]
    teacher = rankings[RowName.TEACHER].rows
    figures: QueryFigures = {
        Column.OVERLAP_10: {name: ranking_overlap(rankings[name].rows, teacher, 10) for name in names}
    }
    for name in names:
        judged = test.judge(rankings[name].rows)
        if judged is None or not (judged.relevant > 0).any():
            break
        measures = {
            Column.RECALL_1: recall_at_k(judged, 1),
            Column.RECALL_5: recall_at_k(judged, 5),
            Column.RECALL_10: recall_at_k(judged, 10),
            Column.MRR: reciprocal_rank(judged),
            Column.MRR_10: reciprocal_rank(judged, 10),
            Column.NDCG_10: ndcg_at_k(judged, 10),
        }
        for measure, values in measures.items():
            figures.setdefault(measure, {})[name] = values
    return figures
