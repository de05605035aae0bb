"""Does a text find its own teacher vector among all others: how well queries search, told without any labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.errors import DataError
from alignkit.vectors import l2_normalize

# scores in one block: 16 MiB as float32
BLOCK_SCORES = 4 * 1024 * 1024
# float32 cosines nearer to each other than this are equal
TIE = 1e-6
# inverse temperatures that the probabilities are tried at
SHARPNESS = tuple(2.0 ** (step / 2) for step in range(-2, 21))


@dataclass(frozen=True)
class SelfRetrieval:
    """What each query found.

    Attributes:
        ranks: `(Q,)` float64, rank of the query's own vector, from 1; among equal scores the middle one.
        log_probabilities: `(Q,)` float64 at most 0, of the own vector under a softmax over the corpus; the temperature
            makes their mean largest, so the scale of the scores does not matter. They tell heads apart where nearly
            every rank is 1.
    """

    ranks: Tensor
    log_probabilities: Tensor

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
    """Rank every query's own vector among all of the corpus by cosine.

    Args:
        queries: `(Q, D)`, what the head makes of Q texts.
        corpus: `(C, D)`, the teacher's vectors of those texts and of as many others as there are.
        own: `(Q,)` int64, the corpus row of each query.

    Raises:
        DataError: if the shapes do not go together.

    >>> found = self_retrieval(torch.tensor([[1.0, 0.1], [1.0, 0.2]]), torch.eye(2), own=torch.tensor([0, 1]))
    >>> found.ranks.tolist()
    [1.0, 2.0]
    """
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1] or own.shape != queries.shape[:1]:
        raise DataError(
            "self_retrieval: expected queries (Q, D), corpus (C, D) and own (Q,), got "
            f"{tuple(queries.shape)}, {tuple(corpus.shape)} and {tuple(own.shape)}"
        )
    queries, corpus = l2_normalize(queries.float()), l2_normalize(corpus.to(queries.device).float())
    own = own.to(queries.device)
    ranks, by_sharpness = [], []
    size = max(1, BLOCK_SCORES // max(1, len(corpus)))
    for start in range(0, len(queries), size):
        scores = queries[start : start + size] @ corpus.T
        margins = scores - scores.gather(1, own[start : start + size, None])
        above, level = (margins > TIE).sum(dim=1), (margins.abs() <= TIE).sum(dim=1)
        ranks.append(above + (level + 1) / 2)  # the own vector is level with itself
        by_sharpness.append(_log_probabilities(margins))
    if not ranks:
        return SelfRetrieval(torch.zeros(0).double(), torch.zeros(0).double())
    told = torch.cat(by_sharpness)
    return SelfRetrieval(torch.cat(ranks).double().cpu(), told[:, told.mean(dim=0).argmax()].cpu())


def _log_probabilities(margins: Tensor) -> Tensor:
    """`(B, C)` scores less the own score → `(B, S)`, one column a sharpness."""
    columns = [-torch.logsumexp(sharpness * margins, dim=1) for sharpness in SHARPNESS]
    return torch.stack(columns, dim=1).double()
