"""What every student promises that can be trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from alignkit.distillation.tokens import IdsOf, TokenBatch, Tokenize, Tokens
from alignkit.embedders.base import Role


class TrainableStudent(nn.Module):
    """A student whose weights can be trained, and saved in sentence-transformers' format.

    It is always in evaluation mode: dropout costs a student more than it brings.

    Attributes:
        dim: width of the vectors.
        rate: AdamW's peak learning rate.
        is_fitted: whether it fits its texts before it is trained; a rate that suits others would destroy that.
    """

    dim: int
    rate: float
    is_fitted: bool = False

    def __init__(self, modules: Sequence[Any], prompts: dict[Role, str], role: Role) -> None:
        super().__init__()
        # where heads begin too, wherever it has embedded so far; the trainer moves both
        self.chain = nn.ModuleList(copy.deepcopy(list(modules))).float().cpu()
        self.prompts, self.role = prompts, role
        self.eval()

    def train(self, mode: bool = True) -> TrainableStudent:
        """Stay in evaluation mode."""
        return super().train(False)

    def ids_of(self) -> IdsOf:
        """What tokenises some texts as the embedder does it; it can be pickled, and does not hold the student."""
        raise NotImplementedError

    def tokenize(self, texts: Sequence[str], how: Tokenize = Tokens.of) -> Tokens:
        """The ids of all texts, tokenised as the embedder does it; `how` may give them to workers."""
        return how(texts, self.ids_of())

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
