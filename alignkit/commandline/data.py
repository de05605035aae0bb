"""The data of a command and, if the vector cache lacks vectors, the command that adds them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.commandline.composed import build
from alignkit.commandline.sides import words_of_side
from alignkit.errors import CacheError
from alignkit.pairs.base import MissingVectorsError, PairSplits
from alignkit.pasting import command_line
from alignkit.sentences.dataset_folder import SENTENCES

logger = logging.getLogger(__name__)

RETRY = ("retry_quarantined=true",)


def build_data(settings: Mapping[str, Any]) -> Any:
    """What `data=` names: pairs in splits, or a set of texts.

    Args:
        settings: of the command, plain values.

    Raises:
        CacheError: if the vector cache lacks vectors; with the command that makes them.
        AlignkitError: whatever else is wrong with the data.
    """
    try:
        data = build(settings["data"], "data")
    except MissingVectorsError as error:
        advice, more = "get them with", tuple[str, ...]()
        if error.refused:
            advice, more = "once that is mended, try them again with", RETRY
        raise CacheError(f"{error}; {advice}: {_embed_command(settings, error.side, *more)}") from None
    if isinstance(data, PairSplits):
        for side, count in (data.origin.quarantined or {}).items():
            if count:
                again = _embed_command(settings, side, *RETRY)
                logger.warning("to try those %d sentences again: %s", count, again)
    return data


def _embed_command(settings: Mapping[str, Any], side: str, *more: str) -> str:
    """What embeds the sentences with a side's model."""
    data = settings["data"]
    path = Path(data["path"])
    sentences = path / SENTENCES if path.expanduser().is_dir() else path
    words = [f"which={side}", f"sentences={sentences}", f"cache_dir={data['cache_dir']}"]
    words += words_of_side(side, data[side])
    usual = {"text_column": "text", "role": "document"}
    words += [f"{name}={data[name]}" for name, default in usual.items() if data.get(name, default) != default]
    return command_line("embed", [*words, *more])
