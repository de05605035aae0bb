"""Models with two routes, which send queries and documents through different modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.embedders.base import Role
from alignkit.errors import EmbedderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_OWN_MODULES = "sentence_transformers."


def are_told(folder: Path) -> bool | None:
    """Whether a model's files say that it treats roles differently; None if only its code can tell."""
    file = folder / "modules.json"
    if not file.is_file():
        return False  # a bare transformer
    try:
        parts = [(str(part["type"]), part.get("kwargs") or ()) for part in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # loading the model will report the fault
    if any(kind.rpartition(".")[2] in ("Router", "Asym") or "task" in keywords for kind, keywords in parts):
        return True
    return False if all(kind.startswith(_OWN_MODULES) for kind, _ in parts) else None


def are_in(model: SentenceTransformer) -> bool:
    """Whether a loaded model treats roles differently."""
    return "task" in model.get_model_kwargs()


def modules_of(model: SentenceTransformer, role: Role, name: str) -> list[Any]:
    """The modules that a role's texts go through, in order; a router is replaced by its route's modules.

    Args:
        model: loaded.
        role: of the texts.
        name: of the model, for the message.

    Raises:
        EmbedderError: if it has no route for this role.
    """
    from sentence_transformers.base.modules import Router

    modules: list[Any] = []
    for module in model:
        here: Any = module.sub_modules[_route(module, role, name)] if isinstance(module, Router) else [module]
        modules.extend(here)
    return modules


def _route(router: Any, role: Role, name: str) -> str:
    """Look up in the library's own order; a default route does not count as a role's route."""
    mapped = router.route_mappings
    for key in ((role, "text"), (role, None), (None, "text"), (None, None)):
        if key in mapped:
            return str(mapped[key])
    for route in (role, "text"):
        if route in router.sub_modules:
            return route
    raise EmbedderError(
        f"'{name}' has no route for role={role}, only {', '.join(router.sub_modules)}; another role, or another model"
    )
