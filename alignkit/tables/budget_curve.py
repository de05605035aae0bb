"""What fewer calls of the teacher would have given: smaller tables of the same entries, judged on held-out texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alignkit.embedders.token_table import TokenTable
from alignkit.metrics.intervals import PairedBootstrap
from alignkit.runs.table_report import BudgetPoint
from alignkit.tables.fitting import fit_rows, ridge

SHARES = (1.0, 0.5, 0.25)
# of the texts, a part of which is held out; few numbers are enough to compare by, and take a second a table
MOST_TEXTS, FEWEST_TEXTS, HELD_OUT = 5_000, 250, 0.2
MOST_COLUMNS = 512


def budget_curve(
    table_of: Callable[[int, Sequence[str]], TokenTable],
    asked: int,
    texts: Sequence[str],
    vectors: np.ndarray,
    seed: int = 0,
) -> tuple[tuple[BudgetPoint, ...], int]:
    """Make the table again with half and a quarter of its entries; the teacher is not asked again.

    All are fitted to the same seeded sample of the texts and judged on its other part, so that their differences are
    paired. The table itself is fitted to more texts, and better than any of these.

    Args:
        table_of: the unfitted table of the first so many entries, weighted by what is frequent in some texts.
        asked: entries of the whole table.
        texts: N training texts.
        vectors: `(N, D)`, the teacher's.
        seed: of the sample.

    Returns:
        The points, the whole table's first, and how many texts they were judged on; none for too few texts.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(texts))[:MOST_TEXTS]
    held = round(HELD_OUT * len(rows))
    if len(rows) < FEWEST_TEXTS or asked < 1 / min(SHARES):
        return (), 0
    some = [texts[row] for row in rows.tolist()]
    wanted = np.array(vectors[np.sort(rows)], dtype=np.float32)[np.argsort(np.argsort(rows))]
    if wanted.shape[1] > MOST_COLUMNS:  # a random projection keeps angles
        wanted = wanted @ rng.standard_normal((wanted.shape[1], MOST_COLUMNS), dtype=np.float32)
    wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
    counts = [round(share * asked) for share in SHARES]
    figures = [_cosines(table_of(count, some[held:]), some, wanted, held) for count in counts]
    points = [BudgetPoint(asked, float(figures[0].mean()))]
    for count, found in zip(counts[1:], figures[1:], strict=True):
        change = PairedBootstrap({"whole": figures[0], "part": found}, seed=seed).difference("part", "whole")
        points.append(BudgetPoint(count, float(found.mean()), change))
    return tuple(points), held


def _cosines(table: TokenTable, texts: Sequence[str], wanted: np.ndarray, held: int) -> np.ndarray:
    """Of the first `held` texts, `(held,)`, once the rows and a linear map are fitted to the others."""
    from scipy.sparse import csr_array

    tokens, lengths = table.tokens(texts)
    used, tokens = np.unique(tokens, return_inverse=True)
    shape = (len(texts), len(used))
    counts = csr_array((np.ones(len(tokens), np.float32), tokens, np.append(0, np.cumsum(lengths))), shape=shape)
    counts.sum_duplicates()
    rows, _ = fit_rows(counts[held:], table.rows[used], wanted[held:])
    sums = counts @ rows
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    linear, mean, shift = ridge(sums[held:], wanted[held:])
    mapped = (sums[:held] - mean) @ linear + shift
    mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-12)
    return np.einsum("nd,nd->n", mapped, wanted[:held]).astype(np.float64)
