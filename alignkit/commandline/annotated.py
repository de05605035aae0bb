"""Which parameters of a part are texts, read from its source: importing it may load torch, which takes seconds."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable
from typing import Any

_TEXTS = ("str", "Path")


@functools.cache
def texts_of(target: str) -> dict[str, bool]:
    """Parameters that are a text, a path or one of some words; whether `None` is allowed too.

    Args:
        target: a class with an `__init__` of its own, a dataclass or a function, by its dotted name.

    >>> texts_of("alignkit.pairs.cached.load_cached")["role"]
    False
    """
    module, _, name = target.rpartition(".")
    found = _defined(module, name)
    if isinstance(found, ast.ClassDef):
        init = next((one for one in found.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        fields = [(one.target, one.annotation) for one in found.body if isinstance(one, ast.AnnAssign)]
        hints = _parameters(init) if init else {one.id: hint for one, hint in fields if isinstance(one, ast.Name)}
    else:
        hints = _parameters(found) if isinstance(found, ast.FunctionDef) else {}
    kinds = {name: set(_kinds(module, hint)) for name, hint in hints.items()}
    return {name: None in some for name, some in kinds.items() if "text" in some and some <= {"text", None}}


def _parameters(function: ast.FunctionDef) -> dict[str, ast.expr]:
    given = function.args
    return {one.arg: one.annotation for one in (*given.args, *given.kwonlyargs) if one.annotation is not None}


def _kinds(module: str, hint: ast.expr | None) -> Iterable[str | None]:
    """Of the members of an annotation: "text", "other", or `None` for that itself."""
    if isinstance(hint, ast.BinOp):
        return (*_kinds(module, hint.left), *_kinds(module, hint.right))
    if isinstance(hint, ast.Constant) and hint.value is None:
        return (None,)
    if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) == "Literal":
        return ("text",)
    if not isinstance(hint, ast.Name):
        return ("other",)
    if hint.id in _TEXTS:
        return ("text",)
    alias = _defined(module, hint.id)
    return _kinds(module, alias) if isinstance(alias, ast.expr) else ("other",)


def _defined(module: str, name: str) -> ast.AST | None:
    """What a name of a module of ours stands for: a class, a function, or the value of an alias."""
    found: Any = None
    for node in _top_of(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            found = node
        elif isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == [name]:
            found = node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alignkit."):
            original = next((one.name for one in node.names if (one.asname or one.name) == name), None)
            found = _defined(str(node.module), original) if original else found
    return found


@functools.cache
def _top_of(module: str) -> list[ast.stmt]:
    spec = importlib.util.find_spec(module)
    source = spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
    return ast.parse(source or "").body
