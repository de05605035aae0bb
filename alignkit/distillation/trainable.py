"""Makes a student that can be trained out of an embedder."""

from __future__ import annotations

from alignkit.distillation.table_student import TableStudent
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.distillation.transformer_student import TransformerStudent
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import ConfigError

TABLE_ADVICE = "make a student from the teacher alone with student=table"


def trainable(
    embedder: Embedder, *, train_layers: int | None = None, lora: int | None = None, role: Role = "document"
) -> TrainableStudent:
    """A copy of an embedder's model that can be trained; the embedder stays as it is.

    Args:
        embedder: of a model in this process.
        train_layers: train only the last so many layers of a transformer; `None` trains all.
        lora: rank of what is trained beside a transformer's matrices; `None` trains the matrices themselves.
        role: of the training texts.

    Raises:
        ConfigError: for a model that cannot be trained here, or in this way.
        MissingExtraError: for `lora` without peft.
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
    if type(modules[0]).__name__ == "StaticEmbedding":
        check_layers_of_table(train_layers, lora)
        return TableStudent(modules, prompts, role, fitted=getattr(embedder, "is_fitted", False))
    if not hasattr(modules[0], "model") or getattr(modules[0], "tokenizer", None) is None:
        raise ConfigError(
            f"a model that begins with {type(modules[0]).__name__} cannot be trained here; expected a transformer or a "
            f"StaticEmbedding; {TABLE_ADVICE}"
        )
    return TransformerStudent(modules, prompts, role, train_layers, lora)


def check_layers_of_table(train_layers: int | None, lora: int | None) -> None:
    """Refuse settings of a transformer's layers for a student that is a table, or will be made as one.

    Raises:
        ConfigError: if one is set.
    """
    for name, value in (("train_layers", train_layers), ("lora", lora)):
        if value is not None:
            raise ConfigError(f"{name}={value}: a table has no layers; take {name}=null")
