"""Fills a new collection of Chroma with the rows of another index, or of another collection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.chroma_calls import METRICS, ChromaCalls
from alignkit.indexes.chroma_filters import DOCUMENT
from alignkit.indexes.index_rows import Id, IndexRows
from alignkit.indexes.new_index import VERSION, NewIndex, taken
from alignkit.indexes.plain_values import plain_value
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import note_of

_SPACES = {metric: space for space, metric in METRICS.items()}
# a server takes requests of 40 MB at most, and a client's folder 5,461 rows
_ROWS_AT_ONCE = 256
_NOTE, _DIM = "_alignkit_note", "_alignkit_dim"
_OURS = {_NOTE, _DIM}


class ChromaFilling(NewIndex):
    """A collection of that name; the note is in its metadata.

    Ids become texts. A row without a vector gets a zero one. Values of the payload that the metadata cannot hold, such
    as objects, become their JSON, and empty ones are left out.

    Args:
        calls: to Chroma.
        collection: its name.
        text: `document` for Chroma's own texts, else a field of the metadata.
        opened: the collection as an index.
        like: a collection whose settings and metadata it gets.
    """

    def __init__(
        self,
        calls: ChromaCalls,
        collection: str,
        text: str,
        opened: Callable[[], VectorIndex],
        like: str | None = None,
    ) -> None:
        self.calls, self.collection, self.text, self._opened, self.like = calls, collection, text, opened, like
        self.place, self.own_fields = f"collection {collection} of Chroma", tuple({DOCUMENT, text})

    def close(self) -> None:
        """See `NewIndex`."""
        self.calls.close()

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            "Chroma takes ids as texts, objects in the payload as JSON, leaves empty values out, and gives a row "
            "without a vector a zero one"
        )

    def note(self) -> Note | None:
        """See `NewIndex`."""
        if self.collection not in self.calls.names():
            return None
        if (found := note_of((self._stored().metadata or {}).get(_NOTE))) is None:
            raise taken(self.place)
        return found

    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        self._describe({_NOTE: json.dumps(note)})

    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`."""
        configuration: dict[str, Any] = {"hnsw": {"space": _SPACES[metric]}}
        metadata: dict[str, Any] = {}
        if self.like is not None:
            old = self.calls.collection(self.like)
            given = {kind: old.configuration_json.get(kind) for kind in ("hnsw", "spann")}
            configuration = {kind: settings for kind, settings in given.items() if settings}
            metadata = _own(old.metadata)
        metadata |= {_NOTE: json.dumps(note), _DIM: dim}
        self.calls.run(
            lambda client: client.create_collection(
                self.collection, embedding_function=None, configuration=configuration, metadata=metadata
            )
        )

    def dim(self) -> int:
        """See `NewIndex`."""
        return int(self._stored().metadata[_DIM])

    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`."""
        stored = self._stored()
        for offset in range(0, self.calls.run(lambda _: stored.count()), batch):
            found = self.calls.run(partial(_some, stored, limit=batch, offset=offset))
            yield found["ids"], [(one or {}).get(VERSION, "") for one in found["metadatas"]]

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`."""
        stored, vectors = self._stored(), np.nan_to_num(vectors)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            places = range(start, min(start + _ROWS_AT_ONCE, len(rows)))
            ids = [str(rows.ids[row]) for row in places]
            metadata = [self._metadata(rows, row) | {VERSION: versions[row]} for row in places]
            # fields that a row has no longer would stay otherwise
            there = self.calls.run(partial(_some, stored, ids=ids))
            before = dict(zip(there["ids"], there["metadatas"], strict=True))
            sent = {
                "ids": ids,
                "embeddings": vectors[start : start + len(ids)],
                "metadatas": [
                    dict.fromkeys(before.get(one) or {}) | new for one, new in zip(ids, metadata, strict=True)
                ],
                "documents": rows.texts[start : start + len(ids)]
                if rows.texts is not None and self.text == DOCUMENT
                else None,
            }
            self.calls.run(partial(_upsert, stored, sent))

    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        stored = self._stored()
        self.calls.run(lambda _: stored.delete(ids=[str(one) for one in ids]))

    def build_index(self) -> str:
        """See `NewIndex`."""
        return "HNSW, which Chroma builds by itself"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        return self._opened()

    def give_up(self) -> None:
        """See `NewIndex`."""
        self.calls.run(lambda client: client.delete_collection(self.collection))

    def finish(self) -> None:
        """See `NewIndex`."""
        stored = self._stored()
        for ids, versions in self.versions():
            marked = [one for one, version in zip(ids, versions, strict=True) if version]
            for start in range(0, len(marked), _ROWS_AT_ONCE):
                part = marked[start : start + _ROWS_AT_ONCE]
                self.calls.run(partial(_unmark, stored, part))
        self._describe(dict.fromkeys(_OURS))

    def _describe(self, changes: dict[str, Any]) -> None:
        stored = self._stored()
        self.calls.run(lambda _: stored.modify(metadata=_own(stored.metadata, keep=_OURS) | changes))

    def _stored(self) -> Any:
        return self.calls.collection(self.collection)

    def _metadata(self, rows: IndexRows, row: int) -> dict[str, Any]:
        found = {name: _held(value) for name, value in rows.payload[row].items()}
        if rows.texts is not None and self.text != DOCUMENT:
            found[self.text] = rows.texts[row]
        return {name: value for name, value in found.items() if value is not None}


def _own(metadata: dict[str, Any] | None, keep: set[str] | None = None) -> dict[str, Any]:
    """A collection's metadata without what Chroma refuses to be given again, and without ours but for some."""
    ours = _OURS - (keep or set())
    return {
        name: value for name, value in (metadata or {}).items() if not name.startswith("hnsw:") and name not in ours
    }


def _held(value: Any) -> Any:
    """A value as Chroma's metadata can hold it; `None` for none."""
    value = plain_value(value)
    if isinstance(value, list):
        if len({type(one) for one in value}) == 1 and isinstance(value[0], str | int | float | bool):
            return value
        return json.dumps(value, ensure_ascii=False) if value else None
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _some(stored: Any, _client: Any, **asked: Any) -> dict[str, Any]:
    return stored.get(include=["metadatas"], **asked)


def _upsert(stored: Any, sent: dict[str, Any], _client: Any) -> None:
    stored.upsert(**sent)


def _unmark(stored: Any, ids: list[str], _client: Any) -> None:
    stored.update(ids=ids, metadatas=[{VERSION: None} for _ in ids])
