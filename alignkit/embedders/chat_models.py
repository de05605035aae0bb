"""Chat models in Ollama: why they may return no vectors, and what the user can do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from alignkit.embedders.sameness import normal_name
from alignkit.pasting import command_line

# HTTP status of a server that cannot embed with this model at all
NO_VECTORS = 501
# llama-server's own words, which Ollama passes on since it runs llama-server (0.30)
NAMES_NO_POOLING = "--embeddings"
SINCE = (0, 30)
# architectures that Ollama 0.24 and older embed unchanged; they refuse others of its engine, such as gemma3 and qwen3
EMBEDDED_BEFORE = frozenset({"llama", "qwen2"})
# header key in a copy's file that names its origin
MADE_FROM = "alignkit.made_from"
MADE_FOR_EMBEDDINGS = "qwen3-embedding:0.6b"


def copy_name(model: str) -> str:
    """The default name that `enable_embeddings` gives to a model's copy that returns vectors.

    >>> copy_name("qwen2.5:7b"), copy_name("smol"), copy_name("smol:latest"), copy_name("localhost:5000/me/m")
    ('qwen2.5:7b-embed', 'smol-embed', 'smol-embed', 'localhost:5000/me/m-embed')
    """
    return f"{re.sub(':latest$', '', model, flags=re.IGNORECASE)}-embed"


def enabling_command(model: str, base_url: str | None = None) -> str:
    """The command line that makes the copy; the address is omitted if it is Ollama's default."""
    usual = base_url is None or re.fullmatch(r"http://(127\.0\.0\.1|localhost):11434/?", base_url)
    return command_line("enable_embeddings", [f"model={model}", *([] if usual else [f"base_url={base_url}"])])


def how_to_get(name: str, there: Iterable[str], base_url: str | None = None) -> str:
    """The command that gets a model the server lacks: `ollama pull`, or ours for a copy that was deleted.

    Args:
        name: of the missing model.
        there: names of the server's models.
        base_url: of the server.

    >>> how_to_get("bge-m3", ["smol:latest"]), how_to_get("smol-embed:latest", ["smol:latest"])
    ('ollama pull bge-m3', 'python -m alignkit.enable_embeddings model=smol')
    """
    copies = {normal_name(copy_name(model)): normal_name(model) for model in there}
    original = copies.get(normal_name(name))
    return f"ollama pull {name}" if original is None else enabling_command(original, base_url)


def copy_helps(version: str, words: str) -> bool:
    """Whether a copy with a pooling type would return vectors on this server.

    Args:
        version: as the server reports it; a local build reports 0.0.0.
        words: of its refusal to embed.

    >>> copy_helps("0.32.15", "…"), copy_helps("0.24.0", "this model does not support embeddings")
    (True, False)
    """
    return NAMES_NO_POOLING in words or _numbers(version) >= SINCE


def advice(
    model: str, architecture: str, version: str, words: str, base_url: str | None = None, model_setting: str = ""
) -> str:
    """What to do if the server refuses to embed with a model, for this version and architecture.

    Args:
        model: its name.
        architecture: such as `qwen2`; empty if unknown.
        version: of the server.
        words: of its refusal.
        base_url: of the server.
        model_setting: the user's name for the setting that must name the copy; "" if the copy is found automatically.
    """
    command = enabling_command(model, base_url)
    others = [
        "serve its file with `llama-server --embeddings --pooling last` and use the embedder openai",
        f"use a model made for embeddings (`ollama pull {MADE_FOR_EMBEDDINGS}`)",
    ]
    if not copy_helps(version, words):
        named = f" of the architecture {architecture}" if architecture else ""
        return (
            f"Ollama {version} gives no vectors for chat models{named}. Update Ollama to 0.30 or newer, then run: "
            f"{command}. Or {'; or '.join(others)}"
        )
    if not architecture or architecture in EMBEDDED_BEFORE:
        named = architecture or " and ".join(sorted(EMBEDDED_BEFORE))
        others.append(f"stay on Ollama 0.24 or older, which embeds {named} models as they are")
    after = f"; then give {model_setting}={copy_name(model)}" if model_setting else ", which is then found by itself"
    return (
        f"{model} is a chat model: its file names no pooling type, without which Ollama gives no vectors since 0.30. "
        f"Run: {command} (it makes {copy_name(model)}, the same weights with a pooling type{after}). "
        f"Or {'; or '.join(others)}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
