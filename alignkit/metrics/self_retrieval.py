"""Whether a text finds its own teacher vector among all others: a measure of search that needs no labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.shapes import check_shapes
from alignkit.vectors import l2_normalize

# scores in one block: 16 MiB as float32
BLOCK_SCORES = 4 * 1024 * 1024
# float32 cosines that differ by less count as equal
TIE = 1e-6
# the inverse temperatures that are tried, each twice the one before
SHARPNESS = tuple(2.0**step for step in range(1, 11))


@dataclass(frozen=True)
class SelfRetrieval:
    """What each query found.

    Attributes:
        ranks: `(Q,)` float64, rank of the query's own vector, from 1; the middle rank among equal scores.
    """

    ranks: Tensor

    @property
    def reciprocal_ranks(self) -> Tensor:
        """`(Q,)` in (0, 1]."""
        return 1 / self.ranks

    @property
    def hits(self) -> Tensor:
        """`(Q,)`, 1 where the own vector comes first, else 0."""
        return (self.ranks == 1).double()

    def figures(self) -> dict[str, float | None]:
        """`self_mrr` and `self_recall@1`, both in [0, 1]; `None` without queries."""
        if not len(self.ranks):
            return {"self_mrr": None, "self_recall@1": None}
        return {"self_mrr": float(self.reciprocal_ranks.mean()), "self_recall@1": float(self.hits.mean())}


@torch.no_grad()
def self_retrieval(queries: Tensor, corpus: Tensor, own: Tensor) -> SelfRetrieval:
    """Rank every query's own vector among the whole corpus by cosine.

    Args:
        queries: `(Q, D)`, the head's output for Q texts.
        corpus: `(C, D)`, the teacher's vectors of those texts and of any others.
        own: `(Q,)` int64, the corpus row of each query.

    Raises:
        DataError: if the shapes do not fit.

    >>> found = self_retrieval(torch.tensor([[1.0, 0.1], [1.0, 0.2]]), torch.eye(2), own=torch.tensor([0, 1]))
    >>> found.ranks.tolist()
    [1.0, 2.0]
    """
    ranks = []
    for margins in _margins(queries, corpus, own):
        above, level = (margins > TIE).sum(dim=1), (margins.abs() <= TIE).sum(dim=1)
        ranks.append(above + (level + 1) / 2)  # the own vector ties with itself
    return SelfRetrieval(torch.cat(ranks).double().cpu() if ranks else torch.zeros(0).double())


@torch.no_grad()
def self_log_probabilities(queries: Tensor, corpus: Tensor, own: Tensor) -> Tensor:
    """`(Q,)` float64, at most 0: of every query's own vector under a softmax over the cosines with the whole corpus.

    The temperature is the one with the largest mean, so the scale of the scores does not matter. They tell heads apart
    even if nearly every rank is 1.

    Args:
        queries: `(Q, D)`, the head's output for Q texts.
        corpus: `(C, D)`, the teacher's vectors of those texts and of any others.
        own: `(Q,)` int64, the corpus row of each query.

    Raises:
        DataError: if the shapes do not fit.
    """
    blocks = []
    for margins in _margins(queries, corpus, own):
        most = margins.amax(dim=1, keepdim=True)
        # each sharpness is twice the one before: squaring is several times as fast as another exp
        weights, columns = torch.exp(SHARPNESS[0] * (margins - most)), []
        for sharpness in SHARPNESS:
            columns.append(-(weights.sum(dim=1).log() + sharpness * most[:, 0]))
            weights.square_()
        blocks.append(torch.stack(columns, dim=1).double())
    if not blocks:
        return torch.zeros(0).double()
    told = torch.cat(blocks)
    return told[:, told.mean(dim=0).argmax()].cpu()


def _margins(queries: Tensor, corpus: Tensor, own: Tensor) -> Iterator[Tensor]:
    """`(B, C)` of block after block: cosines minus that with the own vector."""
    check_shapes(queries=(queries, "Q D"), corpus=(corpus, "C D"), own=(own, "Q"))
    queries, corpus = l2_normalize(queries.float()), l2_normalize(corpus.to(queries.device).float())
    own = own.to(queries.device)
    size = max(1, BLOCK_SCORES // max(1, len(corpus)))
    for start in range(0, len(queries), size):
        scores = queries[start : start + size] @ corpus.T
        yield scores - scores.gather(1, own[start : start + size, None])
