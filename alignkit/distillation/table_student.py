"""A table of token vectors that is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.distillation.rows_in_use import rows_in_use
from alignkit.distillation.tokens import IdsOf, TokenBatch
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.embedders.base import Role
from alignkit.embedders.model_folders import note_fitted

# peak rates; rows are moved only where a batch uses them, without momentum in between, and take a higher one than the
# weights of a transformer. That of a table whose rows were fitted to texts is what does not destroy that, see `recipes`
RATE, FITTED_RATE = 2e-3, 3e-4


@dataclass(frozen=True)
class _Ids:
    tokenizer: Any
    prompt: str

    def __call__(self, texts: list[str]) -> list[list[int]]:
        found = self.tokenizer.encode_batch_fast([self.prompt + text for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in found]


class TableStudent(TrainableStudent):
    """A table of token vectors, averaged; each token has a weight, which is learned and multiplied into its row.

    Args:
        modules: of sentence-transformers, the first a `StaticEmbedding`; copied.
        prompts: that its texts begin with, by role.
        role: of the training texts.
        fitted: whether its rows were fitted to texts, or trained on them.
    """

    _table: Any

    def __init__(self, modules: Sequence[Any], prompts: dict[Role, str], role: Role, fitted: bool = False) -> None:
        super().__init__(modules, prompts, role)
        self.is_fitted, self.rate = fitted, FITTED_RATE if fitted else RATE
        self._table = self.chain[0]
        rows, self.dim = self._table.embedding.weight.shape
        self.log_weights = nn.Parameter(torch.zeros(rows))

    def ids_of(self) -> IdsOf:
        """Ids without special tokens."""
        return _Ids(self._table.tokenizer, self.prompts[self.role])

    def forward(self, batch: TokenBatch) -> Tensor:
        """`(B, dim)`; a text without tokens has a zero vector."""
        weights = self.log_weights[batch.ids].exp() / batch.lengths.clamp_min(1).repeat_interleave(batch.lengths)
        rows, ids = rows_in_use(self._table.embedding.weight, batch.ids)
        vectors = nn.functional.embedding_bag(ids, rows, batch.starts(), mode="sum", per_sample_weights=weights)
        return self._after_first({"sentence_embedding": vectors})

    def save(self, folder: Path) -> None:
        """As every student; the folder says that the rows fit texts, where they do."""
        super().save(folder)
        if self.is_fitted or bool(self.log_weights.any()):
            note_fitted(folder)

    @torch.no_grad()
    def modules_to_save(self) -> list[Any]:
        """With the weights multiplied into the rows."""
        table: Any
        table, *others = copy.deepcopy(list(self.chain))
        table.embedding.weight.mul_(self.log_weights.exp().unsqueeze(1))
        return [table, *others]
