"""Where an index is and where its new vectors shall lie: beside the old ones, or in another engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alignkit.errors import ConfigError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.elsewhere import Elsewhere
from alignkit.indexes.new_index import new_index
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import EVERYTHING
from alignkit.parts import build_part
from alignkit.setting_names import settings_under


@contextmanager
def opened(settings: Mapping[str, Any]) -> Iterator[tuple[VectorIndex, Replacement]]:
    """The index that `source` names, and the new vectors, in `target` if that names an engine.

    Raises:
        AlignkitError: if one of them cannot be opened.
    """
    source, target = settings["source"], settings.get("target")
    if target is None:
        with _index(source) as index:
            yield index, index.replacement()
        return
    if target.get("payload"):
        raise ConfigError(
            f"target.payload={','.join(target['payload'])}: what is moved is named by source.payload; all fields are "
            "if that names none"
        )
    if source.get("payload") == []:
        source = {**source, "payload": list(EVERYTHING)}
    if "text" in target and target["text"] is None:
        target = {**target, "text": source.get("text")}
    with _index(source) as index:
        with settings_under("target"):
            new = new_index(target)
        with new:
            yield index, Elsewhere(index, new)


def _index(source: Mapping[str, Any]) -> VectorIndex:
    with settings_under("source"):
        index: VectorIndex = build_part(source)
    return index
