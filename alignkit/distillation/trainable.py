"""Students that can be trained: a transformer, or a table of token vectors."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from alignkit.distillation.rows_in_use import InUse, rows_in_use
from alignkit.distillation.tokens import TokenBatch, Tokens
from alignkit.embedders.bare_transformer import layers_of
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import ConfigError
from alignkit.setting_rules import check, whole

# peak rates; a table's rows are moved only where a batch uses them, without momentum in between, and take a higher one
TRANSFORMER_RATE, TABLE_RATE = 6e-4, 2e-3
# padded, of a transformer's forward pass; a GPU computes nothing twice unless it has to
TOKENS_AT_ONCE = {"cpu": 16_384, "cuda": 262_144}
TABLE_ADVICE = "make a student from the teacher alone with student=table"


class TrainableStudent(nn.Module):
    """A student whose weights can be trained, and saved in sentence-transformers' format.

    It is always in evaluation mode: dropout costs a student more than it brings.

    Attributes:
        dim: width of the vectors.
        rate: AdamW's peak learning rate.
    """

    dim: int
    rate: float

    def __init__(self, modules: Sequence[Any], prompts: dict[Role, str], role: Role) -> None:
        super().__init__()
        self.chain = nn.ModuleList(copy.deepcopy(list(modules))).float()
        self.prompts, self.role = prompts, role
        self.eval()

    def train(self, mode: bool = True) -> TrainableStudent:
        """Stay in evaluation mode."""
        return super().train(False)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The ids of all texts, tokenised as the embedder does it."""
        raise NotImplementedError

    def forward(self, batch: TokenBatch) -> Tensor:
        """`(B, dim)`, the very vectors that the embedder would give."""
        raise NotImplementedError

    def rates(self) -> dict[str, float]:
        """Learning rates: the beginning of a parameter's name → factor of `rate`; as `Head.rates`."""
        return {}

    def suit_rough_products(self) -> None:  # noqa: B027 - most have nothing to change
        """Prepare for a CPU that multiplies in bfloat16 while it trains."""

    def save(self, folder: Path) -> None:
        """Write the student as a model of sentence-transformers."""
        from sentence_transformers import SentenceTransformer

        from alignkit.embedders.model_loading import quiet_loading

        with quiet_loading():
            modules = [copy.deepcopy(module).cpu() for module in self.modules_to_save()]
            prompts: dict[str, str] = {name: prompt for name, prompt in self.prompts.items() if prompt}
            SentenceTransformer(modules=modules, device="cpu", prompts=prompts or None).save(
                str(folder), create_model_card=False
            )

    def modules_to_save(self) -> list[Any]:
        """Of sentence-transformers, in order."""
        return list(self.chain)

    def _after_first(self, features: dict[str, Any]) -> Tensor:
        for module in list(self.chain)[1:]:
            features = module(features)
        return features["sentence_embedding"]


class TransformerStudent(TrainableStudent):
    """A model that sentence-transformers loads.

    Args:
        modules: of sentence-transformers; copied.
        prompts: that its texts begin with, by role.
        role: of the training texts.
        train_layers: train only the last so many layers and what follows them; `None` trains all.
    """

    rate = TRANSFORMER_RATE
    _reader: Any

    def __init__(
        self, modules: Sequence[Any], prompts: dict[Role, str], role: Role, train_layers: int | None = None
    ) -> None:
        super().__init__(modules, prompts, role)
        self._reader = self.chain[0]
        model = self._reader.model
        model.set_input_embeddings(InUse.of(model.get_input_embeddings()))
        self._freeze_before(train_layers)
        widths: list[Any] = [getattr(module, "get_embedding_dimension", None) for module in self.chain]
        self.dim = int([width for width in widths if width is not None][-1]())
        self._pad = int(self._reader.tokenizer.pad_token_id or 0)
        asked = self._reader.preprocess(["a"], prompt=self.prompts[role] or None)
        self._prompt_length = asked.get("prompt_length")
        self._pads_left = self._reader.tokenizer.padding_side == "left"

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Ids with special tokens, truncated at the model's limit."""
        prompt = self.prompts[self.role]

        def ids_of(part: list[str]) -> list[list[int]]:
            features = self._reader.preprocess(part, prompt=prompt or None)
            real = features["attention_mask"].bool()
            return [row[mask].tolist() for row, mask in zip(features["input_ids"], real, strict=True)]

        return Tokens.of(texts, ids_of)

    def forward(self, batch: TokenBatch) -> Tensor:
        """`(B, dim)`; see `TrainableStudent.forward`.

        Long texts go through in parts, which are computed a second time for the gradient: a batch of 512 abstracts
        would take ten times the memory of 512 sentences.
        """
        at_once = TOKENS_AT_ONCE.get(batch.ids.device.type, TOKENS_AT_ONCE["cuda"])
        texts = max(1, at_once // max(1, int(batch.lengths.max())))
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

    def _freeze_before(self, train_layers: int | None) -> None:
        if train_layers is None:
            return
        model = self._reader.model
        stack = layers_of(model)[2]
        check({"train_layers": train_layers}, {"train_layers": whole(0)}, "")
        if train_layers > len(stack):
            raise ConfigError(
                f"train_layers={train_layers}: the student has {len(stack)} layers; ask for at most so many"
            )
        model.requires_grad_(False)
        for layer in list(stack)[len(stack) - train_layers :]:
            layer.requires_grad_(True)


class TableStudent(TrainableStudent):
    """A table of token vectors, averaged; each token has a weight, which is learned and multiplied into its row.

    Args:
        modules: of sentence-transformers, the first a `StaticEmbedding`; copied.
        prompts: that its texts begin with, by role.
        role: of the training texts.
    """

    rate = TABLE_RATE
    _table: Any

    def __init__(self, modules: Sequence[Any], prompts: dict[Role, str], role: Role) -> None:
        super().__init__(modules, prompts, role)
        self._table = self.chain[0]
        rows, self.dim = self._table.embedding.weight.shape
        self.log_weights = nn.Parameter(torch.zeros(rows))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Ids without special tokens."""
        prompt = self.prompts[self.role]

        def ids_of(part: list[str]) -> list[list[int]]:
            found = self._table.tokenizer.encode_batch_fast([prompt + text for text in part], add_special_tokens=False)
            return [encoding.ids for encoding in found]

        return Tokens.of(texts, ids_of)

    def forward(self, batch: TokenBatch) -> Tensor:
        """`(B, dim)`; a text without tokens has a zero vector."""
        weights = self.log_weights[batch.ids].exp() / batch.lengths.clamp_min(1).repeat_interleave(batch.lengths)
        rows, ids = rows_in_use(self._table.embedding.weight, batch.ids)
        vectors = nn.functional.embedding_bag(ids, rows, batch.starts(), mode="sum", per_sample_weights=weights)
        return self._after_first({"sentence_embedding": vectors})

    @torch.no_grad()
    def modules_to_save(self) -> list[Any]:
        """With the weights multiplied into the rows."""
        table: Any
        table, *others = copy.deepcopy(list(self.chain))
        table.embedding.weight.mul_(self.log_weights.exp().unsqueeze(1))
        return [table, *others]


def trainable(embedder: Embedder, *, train_layers: int | None = None, role: Role = "document") -> TrainableStudent:
    """A copy of an embedder's model that can be trained; the embedder stays as it is.

    Args:
        embedder: of a model in this process.
        train_layers: train only the last so many layers of a transformer; `None` trains all.
        role: of the training texts.

    Raises:
        ConfigError: for a model that cannot be trained here, or more layers than it has.
    """
    modules_of = getattr(embedder, "modules", None)
    if modules_of is None:
        backend = str(embedder.settings(role).get("backend", type(embedder).__name__))
        raise ConfigError(
            f"student={backend}: its weights are not on this machine, so it cannot be trained; {TABLE_ADVICE}, or take "
            "a model that sentence-transformers loads"
        )
    modules = modules_of(role)
    prompts: dict[Role, str] = {one: str(embedder.identity(one).get("prompt") or "") for one in ("query", "document")}
    if is_table(modules[0]):
        if train_layers is not None:
            raise ConfigError(f"train_layers={train_layers}: a table has no layers; take train_layers=null")
        return TableStudent(modules, prompts, role)
    if not hasattr(modules[0], "model") or getattr(modules[0], "tokenizer", None) is None:
        raise ConfigError(
            f"a model that begins with {type(modules[0]).__name__} cannot be trained here; expected a transformer or a "
            f"StaticEmbedding; {TABLE_ADVICE}"
        )
    return TransformerStudent(modules, prompts, role, train_layers)


def is_table(module: Any) -> bool:
    """Whether a module of sentence-transformers is a table of token vectors."""
    return type(module).__name__ == "StaticEmbedding"
