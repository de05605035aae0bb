"""A transformer that is trained: whole, its last layers, or by what LoRA puts beside its matrices."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from alignkit.distillation.low_rank import add_low_rank, merge_low_rank
from alignkit.distillation.rows_in_use import InUse
from alignkit.distillation.student_rules import RULES
from alignkit.distillation.tokens import IdsOf, TokenBatch
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.embedders.bare_transformer import layers_of
from alignkit.embedders.base import Role
from alignkit.errors import ConfigError
from alignkit.setting_rules import check

# peak rates; what LoRA adds starts at zero and takes a higher one. Two layers under an `mlp`, 6,000 texts, 3 epochs,
# overlap@10 on 1,000 held-out texts, .574 before: all weights .617; of rank 16 at 2e-3 .605, at 6e-3 .597
RATE, LORA_RATE = 6e-4, 2e-3
# of what a forward pass keeps for the gradient; what does not fit is computed twice, in parts. On a CPU that costs no
# time, since parts stay in its cache: 512 texts of 22 tokens through two layers took 2.24 CPU s whole, 2.23 s in parts
KEPT_BYTES = {"cpu": 300_000_000, "cuda": 12_000_000_000}
# float32 numbers that a layer keeps for each token and each of its dimensions
KEPT_PER_DIMENSION = 24


@dataclass(frozen=True)
class _Ids:
    reader: Any  # it tokenises by what its model says too
    prompt: str

    def __call__(self, texts: list[str]) -> list[list[int]]:
        features = self.reader.preprocess(texts, prompt=self.prompt or None)
        real = features["attention_mask"].bool()
        return [row[mask].tolist() for row, mask in zip(features["input_ids"], real, strict=True)]


class TransformerStudent(TrainableStudent):
    """A model that sentence-transformers loads.

    Args:
        modules: of sentence-transformers; copied.
        prompts: that its texts begin with, by role.
        role: of the training texts.
        train_layers: train only the last so many layers and what follows them; `None` trains all.
        lora: train products of this rank beside the layers' matrices instead, see `low_rank`; `None` trains the
            matrices themselves.
    """

    rate = RATE
    _reader: Any

    def __init__(
        self,
        modules: Sequence[Any],
        prompts: dict[Role, str],
        role: Role,
        train_layers: int | None = None,
        lora: int | None = None,
    ) -> None:
        super().__init__(modules, prompts, role)
        self._reader = self.chain[0]
        model = self._reader.model
        model.set_input_embeddings(InUse.of(model.get_input_embeddings()))
        self._freeze(train_layers, lora)
        self._is_low_rank = lora is not None
        if self._is_low_rank:
            self.rate = LORA_RATE
        widths: list[Any] = [getattr(module, "get_embedding_dimension", None) for module in self.chain]
        self.dim = int([width for width in widths if width is not None][-1]())
        self._pad = int(self._reader.tokenizer.pad_token_id or 0)
        asked = self._reader.preprocess(["a"], prompt=self.prompts[role] or None)
        self._prompt_length = asked.get("prompt_length")
        width = model.get_input_embeddings().weight.shape[1]
        self._token_bytes = 4 * KEPT_PER_DIMENSION * width * getattr(model.config, "num_hidden_layers", 12)
        self._pads_left = self._reader.tokenizer.padding_side == "left"

    def ids_of(self) -> IdsOf:
        """Ids with special tokens, truncated at the model's limit."""
        return _Ids(self._reader, self.prompts[self.role])

    def forward(self, batch: TokenBatch) -> Tensor:
        """`(B, dim)`; see `TrainableStudent.forward`.

        What is too much for the memory goes through in parts, which are computed a second time for the gradient: a
        batch of 512 abstracts would take ten times the memory of 512 sentences, twelve layers six times that of two.
        """
        kept = KEPT_BYTES.get(batch.ids.device.type, KEPT_BYTES["cuda"])
        texts = max(1, kept // (self._token_bytes * max(1, int(batch.lengths.max()))))
        if len(batch.lengths) <= texts:
            return self._vectors(*batch)
        parts = batch.lengths.split(texts)
        ids = batch.ids.split([int(lengths.sum()) for lengths in parts])
        return torch.cat(
            [checkpoint(self._vectors, *part, use_reentrant=False) for part in zip(ids, parts, strict=True)]
        )

    def suit_rough_products(self) -> None:
        """Take plain attention: on texts of 16 tokens torch's fused one makes bfloat16 three times slower than it."""
        with contextlib.suppress(ValueError, AttributeError, NotImplementedError):  # a model may have one kind alone
            self._reader.model.set_attn_implementation("eager")

    def _vectors(self, ids: Tensor, lengths: Tensor) -> Tensor:
        longest = int(lengths.max())
        places = torch.arange(longest, device=ids.device).expand(len(lengths), longest)
        gaps = (longest - lengths).unsqueeze(1)
        mask = places >= gaps if self._pads_left else places < lengths.unsqueeze(1)
        padded = torch.full(mask.shape, self._pad, device=ids.device)
        padded[mask] = ids
        features: dict[str, Any] = {"input_ids": padded, "attention_mask": mask.long()}
        if self._prompt_length is not None:
            features["prompt_length"] = self._prompt_length
        return self._after_first(self._reader(features))

    def modules_to_save(self) -> list[Any]:
        """With what was trained beside the matrices added to them."""
        if not self._is_low_rank:
            return super().modules_to_save()
        reader: Any
        reader, *others = copy.deepcopy(list(self.chain))
        merge_low_rank(reader.model)
        return [reader, *others]

    def _freeze(self, train_layers: int | None, lora: int | None) -> None:
        if train_layers is None and lora is None:
            return
        check({"train_layers": train_layers, "lora": lora}, RULES, "")
        model = self._reader.model
        stack = list(layers_of(model)[2])
        if train_layers is not None and train_layers > len(stack):
            raise ConfigError(
                f"train_layers={train_layers}: the student has {len(stack)} layers; ask for at most so many"
            )
        trained = stack if train_layers is None else stack[len(stack) - train_layers :]
        model.requires_grad_(False)
        if lora is not None:
            if not trained:
                raise ConfigError(f"lora={lora}: train_layers=0 leaves no layer to train; take one from 1 on, or null")
            add_low_rank(model, trained, lora)
            return
        for layer in trained:
            layer.requires_grad_(True)
