"""How much is found when more hits are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alignkit.evaluation.columns import Column
from alignkit.evaluation.rankings import Ranking
from alignkit.evaluation.table_rows import RowName
from alignkit.pairs.evaluation_set import EvaluationSet


@dataclass(frozen=True)
class RecallCurves:
    """Recall at every depth.

    Attributes:
        by_row: row → `(K,)` share that is found among the first 1 to K hits; the cascade has none.
        of_relevant: whether that is the share of what is judged relevant, or else of the teacher's first ten hits.
    """

    by_row: Mapping[RowName, np.ndarray]
    of_relevant: bool


def recall_curves(test: EvaluationSet, rankings: Mapping[RowName, Ranking], measure: Column) -> RecallCurves:
    """Recall of what the deciding measure looks for.

    Args:
        test: what was searched.
        rankings: of the rows; `teacher` is among them.
        measure: that decides: `overlap@10` looks for the teacher's first ten hits.
    """
    of_relevant = measure != Column.OVERLAP_10
    wanted = rankings[RowName.TEACHER].rows[:, :10]
    curves: dict[RowName, np.ndarray] = {}
    for name in RowName:
        if name not in rankings or name == RowName.CASCADE:
            continue
        rows = rankings[name].rows
        judged = test.judge(rows) if of_relevant else None
        if judged is None:
            found = np.cumsum(_among(rows, wanted), axis=1)
            curves[name] = (found / np.maximum((wanted >= 0).sum(axis=1, keepdims=True), 1)).mean(axis=0)
        else:
            hits = np.cumsum(judged.gains > 0, axis=1)[judged.relevant > 0]
            curves[name] = (hits / judged.relevant[judged.relevant > 0][:, None]).mean(axis=0)
    return RecallCurves(curves, of_relevant)


def _among(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return sum(((rows == column[:, None]) & (rows >= 0) for column in wanted.T), np.zeros(rows.shape, dtype=bool))
