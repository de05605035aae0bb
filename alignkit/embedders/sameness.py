"""Whether two identities mean interchangeable vectors. Equal ones do, and so do some that are written differently.

Stored identities are compared with what a server reports today. Heads and caches of older versions store a model's
name as it was typed, and only the digest of its manifest, which any parameter changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alignkit.servers.untrusted_words import quoted

# keys that describe a model's files; compared separately from the rest
FILES = ("digest", "weights", "parameters")
_HEXADECIMAL = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def normal_name(name: str) -> str:
    """One name for all spellings that Ollama treats alike: case, `latest`, `library/` and its registry do not matter.

    >>> normal_name("MiniLM:latest"), normal_name("registry.ollama.ai/library/qwen2.5:7B"), normal_name("me/minilm")
    ('minilm', 'qwen2.5:7b', 'me/minilm')
    """
    *folders, last = name.strip().lower().rpartition("://")[2].split("/")
    if len(folders) == 2 and folders[0] == "registry.ollama.ai":
        folders = folders[1:]
    if folders == ["library"]:
        folders = []
    return "/".join([*folders, last.removesuffix(":latest")])


def same_vectors(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Whether vectors of one identity can replace those of the other; two unknown ones count as the same.

    >>> same_vectors({"backend": "ollama", "model": "tiny:latest"}, {"backend": "ollama", "model": "Tiny"})
    True
    """
    if first is None or second is None:
        return first is second
    return not differences(first, second)


def differences(expected: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, in words.

    If both give the model's weights, the manifest, the name and the choice between Ollama's two APIs do not matter.

    >>> differences({"model": "a", "prompt": ""}, {"model": "b", "prompt": ""})
    ["model: expected 'a', got 'b'"]
    """
    return [
        f"{key}: expected {quoted(brief(expected.get(key)))}, got {quoted(brief(got.get(key)))}"
        for key in differing(expected, got)
    ]


def differences_of_models(expected: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """The same without prompts: queries and documents of one model may carry different ones.

    >>> differences_of_models({"model": "a", "prompt": "query: "}, {"model": "a", "prompt": "passage: "})
    []
    """

    def model(identity: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in identity.items() if "prompt" not in key}

    return differences(model(expected), model(got))


def agrees(identity: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether an identity can belong to an embedder with these settings, whatever its model's files are."""
    return all(_equal(key, identity, settings) for key in settings)


def differing(expected: Mapping[str, Any], got: Mapping[str, Any]) -> Iterator[str]:
    """The keys in which two identities differ, if vectors depend on them."""
    one_model = "weights" in expected and expected["weights"] == got.get("weights")
    for key in dict.fromkeys([*expected, *got]):
        if key in FILES or (one_model and key in ("model", "backend")):
            continue
        if not _equal(key, expected, got):
            yield key
    files = ("weights", "parameters") if "weights" in expected and "weights" in got else ("digest",)
    yield from (key for key in files if expected.get(key) != got.get(key))


def _equal(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    # Ollama's OpenAI API has no such setting and always truncates
    default = True if key == "truncate" and "weights" in first and "weights" in second else None
    mine, other = first.get(key, default), second.get(key, default)
    if key == "model" and (_names_like_ollama(first) or _names_like_ollama(second)):
        return normal_name(str(mine)) == normal_name(str(other))
    return bool(mine == other)


def _names_like_ollama(identity: Mapping[str, Any]) -> bool:
    return identity.get("backend") == "ollama" or "weights" in identity


def brief(value: Any) -> Any:
    """The first characters of a digest; anything else unchanged.

    >>> brief("sha256:" + "ab" * 32), brief(384)
    ('abababababab', 384)
    """
    found = _HEXADECIMAL.fullmatch(value) if isinstance(value, str) else None
    return value if found is None else found[1][:12]
