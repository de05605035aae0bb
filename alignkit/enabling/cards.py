"""A model's card, the answer of `/api/show`: its file on the server, and what a copy should keep."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

# a quoted value may span lines, and its lines may look like commands
COMMAND = re.compile(
    r'^[ \t]*([A-Za-z]+)[ \t]+(?:(?:system|user|assistant)[ \t]+)?(?:"""(.*?)"""|"([^"]*)"|([^\n]*))', re.S | re.M
)
BLOB = re.compile(r"sha256[-:]([0-9a-f]{64})$")
KEPT_AS_THEY_ARE = ("template", "system", "messages", "license", "renderer", "parser", "requires")


def commands(modelfile: str) -> Iterator[tuple[str, str]]:
    r"""The commands of a Modelfile as Ollama writes them, each with its value.

    >>> list(commands('# FROM x\nFROM C:\\a b\\sha256-1\nLICENSE "MIT\nFROM here"\nPARAMETER stop "a"'))
    [('FROM', 'C:\\a b\\sha256-1'), ('LICENSE', 'MIT\nFROM here'), ('PARAMETER', 'stop "a"')]
    """
    for found in COMMAND.finditer(modelfile.replace("\r\n", "\n")):
        value = next(part for part in (*found.groups()[1:], "") if part is not None)
        yield found[1].upper(), value.strip()


def files_of(card: dict[str, Any]) -> list[str]:
    """Paths on the server of a model's files, the likeliest first; one of them may be an image projector."""
    named = [value for name, value in commands(str(card.get("modelfile") or "")) if name == "FROM"]
    parent = str((card.get("details") or {}).get("parent_model") or "")
    return list(dict.fromkeys(path for path in (*named, parent) if BLOB.search(path)))


def adapters_of(card: dict[str, Any]) -> list[str]:
    """Digests of the adapters that are applied to the weights."""
    named = [value for name, value in commands(str(card.get("modelfile") or "")) if name == "ADAPTER"]
    return [found[1] for path in named if (found := BLOB.search(path))]


def digest_in(path: str) -> str | None:
    """The digest in a file's path: Ollama names each file by its SHA-256."""
    found = BLOB.search(path)
    return found[1] if found else None


def architecture_of(card: dict[str, Any]) -> str:
    """The architecture's name in the file, such as `qwen2`; empty if the server does not report it."""
    details = card.get("details") or {}
    return str((card.get("model_info") or {}).get("general.architecture") or details.get("family") or "")


def kept(card: dict[str, Any]) -> dict[str, Any]:
    """What a copy under another name keeps, as fields of `/api/create`."""
    told = {name: value for name, value in commands(str(card.get("modelfile") or "")) if name in ("RENDERER", "PARSER")}
    found = {name: card.get(name) or told.get(name.upper()) for name in KEPT_AS_THEY_ARE}
    found["parameters"] = parameters_in(str(card.get("parameters") or ""))
    return {name: value for name, value in found.items() if value}


def parameters_in(told: str) -> dict[str, Any]:
    r"""Parameters in the card's text, one per line, with values in Go's syntax; a repeated name is a list.

    >>> parameters_in('stop    "<|im_end|>"\nstop    "a\\x00b"\nnum_ctx  8192\ntop_p 0.8\nuse_mmap false\nbig 1e+06')
    {'stop': ['<|im_end|>', 'a\x00b'], 'num_ctx': 8192, 'top_p': 0.8, 'use_mmap': False, 'big': 1000000}
    """
    found: dict[str, list[Any]] = {}
    for line in told.splitlines():
        name, _, value = line.strip().partition(" ")
        if value.strip():
            found.setdefault(name, []).append(_value(value.strip()))
    # Ollama's only list is `stop`, which must be a list even with a single entry
    return {name: values if len(values) > 1 or name == "stop" else values[0] for name, values in found.items()}


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        value = ast.literal_eval(text)  # strings, with Go's escapes, and numbers
    except (ValueError, SyntaxError):
        return text
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float) else text
