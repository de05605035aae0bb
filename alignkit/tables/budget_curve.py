"""What fewer calls of the teacher would have given: the smaller tables, each judged on texts that no fit sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alignkit.embedders.token_table import TokenTable
from alignkit.metrics.intervals import PairedBootstrap
from alignkit.runs.table_report import BudgetPoint
from alignkit.tables.fitting import held_out, ridge

SHARES = (0.5, 0.25)
# of these a twentieth is held out
FEWEST_TEXTS = 500


def budget_curve(
    whole: TokenTable, smaller: Callable[[int], TokenTable], asked: int, texts: Sequence[str], wanted: np.ndarray
) -> tuple[tuple[BudgetPoint, ...], int]:
    """Make the table that half of the calls would have given, and that of a quarter, without asking the teacher again.

    They are fitted to all texts, as the whole one was: fitted to a few thousand, which is quicker, tables of 12,000
    sentences told less than half of what fewer entries cost.

    Args:
        whole: the table as it was made.
        smaller: makes the one that so many entries would have given.
        asked: entries that the teacher was asked for.
        texts: N that the table was fitted to.
        wanted: `(N, D)`, the teacher's vectors, of length 1.

    Returns:
        The points, the whole table's first, and how many texts they were judged on; none for too few texts.
    """
    if len(texts) < FEWEST_TEXTS or asked < 1 / min(SHARES):
        return (), 0
    before = _cosines(whole, texts, wanted)
    points = [BudgetPoint(asked, float(before.mean()))]
    for count in (round(share * asked) for share in SHARES):
        found = _cosines(smaller(count), texts, wanted)
        change = PairedBootstrap({"whole": before, "smaller": found}).difference("smaller", "whole")
        points.append(BudgetPoint(count, float(found.mean()), change))
    return tuple(points), len(before)


def _cosines(table: TokenTable, texts: Sequence[str], wanted: np.ndarray) -> np.ndarray:
    """Of the held-out texts, `(H,)` float64, through a linear map of the others."""
    held, vectors = held_out(len(texts)), table.means(texts)[0]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    linear, mean, shift = ridge(vectors[~held], wanted[~held])
    mapped = (vectors[held] - mean) @ linear + shift
    mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
    return np.einsum("nd,nd->n", mapped, wanted[held]).astype(np.float64)
