"""A model's transformer alone, with a chosen pooling and optionally fewer layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from alignkit.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Pooling = Literal["mean", "cls", "last"]
POOLING_MODES = {"mean": "mean", "cls": "cls", "last": "lasttoken"}


def repooled(model: SentenceTransformer, pooling: Pooling, layers: int | None) -> SentenceTransformer:
    """The model's transformer alone, with another pooling and optionally fewer layers.

    Raises:
        ConfigError: if the model does not begin with a transformer, or has too few layers.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    transformer: Any = model[0]
    if not hasattr(transformer, "model"):
        raise ConfigError(
            f"pooling={pooling}: expected a model that begins with a transformer, got {type(transformer).__name__}"
        )
    if layers is not None:
        _keep_layers(transformer.model, layers)
    pooled: Any = PoolingModule(transformer.get_embedding_dimension(), POOLING_MODES[pooling])
    return SentenceTransformer(modules=[transformer, pooled], device=str(model.device))


def layers_of(transformer: Any) -> tuple[Any, str, Any]:
    """Where a transformer keeps its layers: the owner, the attribute's name, and the layers.

    Raises:
        ConfigError: if they are not in any of the usual places.
    """
    for owner in (getattr(transformer, "encoder", None), getattr(transformer, "transformer", None), transformer):
        for name in ("layer", "layers", "block"):
            stack = getattr(owner, name, None)
            if stack is not None and hasattr(stack, "__len__"):
                return owner, name, stack
    raise ConfigError(f"found no stack of layers in {type(transformer).__name__}; take all of them: layers=null")


def _keep_layers(transformer: Any, layers: int) -> None:
    """Drop all but the first `layers` layers."""
    owner, name, stack = layers_of(transformer)
    if not 1 <= layers <= len(stack):
        raise ConfigError(f"layers={layers}: the model has {len(stack)}")
    setattr(owner, name, stack[:layers])
    transformer.config.num_hidden_layers = layers
