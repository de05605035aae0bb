"""Search by faiss: its flat index finds the candidates, and they are settled as those of the built-in search are."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.corpus_blocks import BLOCK_ELEMENTS, as_tensor, unit_block
from alignkit.indexes.faiss import faiss_module
from alignkit.neighbours import settle
from alignkit.rough_search import Candidates
from alignkit.rounding import sum_slack

# candidates beyond k, as a share of k and a number
MARGIN_SHARE, MARGIN = 0.25, 16


def faiss_top_k(
    queries: Tensor | np.ndarray, corpus: Tensor | np.ndarray, k: int, *, exclude: Tensor | np.ndarray
) -> tuple[Tensor, Tensor]:
    """As `alignkit.neighbours.top_k`, with the same rows; the index holds the whole corpus in float32.

    It normalises both sides too: the student's own index has vectors of any length.

    Args:
        queries: `(Q, D)`.
        corpus: `(C, D)`.
        k: hits.
        exclude: `(Q,)` corpus row that a query must not find, -1 for none.

    Raises:
        MissingExtraError: without faiss.
    """
    faiss = faiss_module()
    unit = F.normalize(as_tensor(queries).float(), dim=-1).cpu()
    width = unit.shape[1]
    index = faiss.IndexFlatIP(width)
    at_once = max(1, BLOCK_ELEMENTS // width)
    for start in range(0, len(corpus), at_once):
        index.add(unit_block(corpus, start, at_once, unit.device).numpy())
    # one more, because a query may find itself
    keep = min(k + int(MARGIN_SHARE * k) + MARGIN, len(corpus)) + 1
    scores, rows = (torch.from_numpy(part) for part in index.search(unit.numpy(), keep))
    excluded = torch.as_tensor(exclude)
    scores = scores.masked_fill((rows < 0) | (rows == excluded.unsqueeze(1)), -torch.inf)
    scores, order = (part[:, :-1] for part in torch.sort(scores, dim=1, descending=True, stable=True))
    slack = torch.full((len(unit),), sum_slack(width) + 2.0**-21)
    crowded = torch.zeros_like(excluded, dtype=torch.bool)
    if scores.shape[1] < len(corpus):
        # what it did not return could be nearer than the k-th
        crowded = scores[:, -1] >= scores[:, k - 1] - 2 * slack
    near = Candidates(scores, rows.gather(1, order), slack, crowded)
    return settle(unit, corpus, k, near, excluded, finer=torch.float64)
