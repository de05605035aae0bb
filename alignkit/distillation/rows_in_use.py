"""Rows of a large table that a batch uses: the others need no gradient and no step of the optimizer.

A batch uses a few thousand of the rows of a vocabulary. On a CPU a gradient and a step over all of them take longer
than forward and backward together.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


def rows_in_use(table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of `table (V, D)` that `ids` name, `(U, D)`, and the ids' places among them.

    The gradient of the table is sparse. Without a gradient, on a GPU, where a dense step takes no time, and among
    several processes, which add up dense gradients, they are the table and the ids themselves.
    """
    is_trained = torch.is_grad_enabled() and table.requires_grad
    if not is_trained or table.device.type != "cpu" or (dist.is_available() and dist.is_initialized()):
        return table, ids
    distinct, places = ids.unique(return_inverse=True)
    return F.embedding(distinct, table, sparse=True), places


class InUse(nn.Embedding):
    """An embedding whose gradient is sparse where that is quicker."""

    @classmethod
    def of(cls, embedding: nn.Module) -> nn.Module:
        """The same embedding, which shares its weights; unchanged if it is of another kind."""
        if type(embedding) is not nn.Embedding or embedding.max_norm is not None or embedding.sparse:
            return embedding
        rows, width = embedding.weight.shape
        same = cls(rows, width, padding_idx=embedding.padding_idx, _weight=embedding.weight)
        same.weight = embedding.weight  # the very parameter: it may be tied to another layer's
        return same

    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` ids → `(..., D)`."""
        rows, places = rows_in_use(self.weight, ids)
        return F.embedding(places, rows)
