"""Fills a new collection of Milvus with the rows of another index, or of another collection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows, is_whole
from alignkit.indexes.milvus_calls import METRICS, MilvusCalls, literal
from alignkit.indexes.milvus_fields import MilvusFields, find_fields, index_of
from alignkit.indexes.new_index import NewIndex, taken
from alignkit.indexes.plain_values import plain_value
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import beside, note_of

SEEN = "_alignkit_seen"
_NOTE = "note"
_ROWS_AT_ONCE = 512
_LONGEST = 65_535
_METRICS = {metric: name for name, metric in METRICS.items()}


class MilvusFilling(NewIndex):
    """A collection of that name. Beside it a collection of texts holds the version of each row, and the note.

    Args:
        calls: to Milvus.
        collection: its name, no alias.
        names: of its fields of ids, vectors and texts; `None` for the last where texts are payload.
        opened: the collection as an index.
        like: a collection whose schema and index it gets.
    """

    def __init__(
        self,
        calls: MilvusCalls,
        collection: str,
        names: tuple[str, str, str | None],
        opened: Callable[[], VectorIndex],
        like: str | None = None,
    ) -> None:
        self.calls, self.collection, self._opened, self.like = calls, collection, opened, like
        self.key, self.vector, self.text = names
        self.seen = beside(collection, SEEN)
        self.place = f"collection {collection} of Milvus"
        self.own_fields = tuple(name for name in names if name)

    def close(self) -> None:
        """See `NewIndex`."""
        self.calls.close()

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            "Milvus takes ids that are not all whole numbers as texts, texts of up to 65,535 bytes, and gives a row "
            "without a vector a zero one"
        )

    def note(self) -> Note | None:
        """See `NewIndex`."""
        kept = None
        if self.calls.behind(self.seen):
            self.calls.load(self.seen)
            kept = self._kept(_NOTE)
        if self.calls.behind(self.collection) is None:
            return None
        if kept is None or (found := note_of(kept)) is None:
            raise taken(self.place)
        return found

    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        self.calls.run(lambda client: client.upsert(self.seen, [_seen(_NOTE, json.dumps(note))]))

    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`; the note first, so that what was left by a killed call is known to be ours."""
        schema, indexes = self._like(dim) if self.like else self._schema(dim, metric, like)
        if self.calls.behind(self.seen) is None:
            self.calls.run(self._create_seen)
        self.keep_note(note)
        self.calls.run(lambda client: client.create_collection(self.collection, schema=schema, index_params=indexes))

    def dim(self) -> int:
        """See `NewIndex`."""
        return self._fields.dim

    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`."""
        self.calls.load(self.seen)
        asked = {"batch_size": batch, "output_fields": ["id", "said"], "consistency_level": "Strong"}
        pages = self.calls.run(lambda client: client.query_iterator(self.seen, **asked))
        while found := self.calls.run(lambda _: pages.next(), patient=False):
            rows = [row for row in found if row["id"] != _NOTE]
            ids = [row["id"][1:] for row in rows]
            yield (ids if self._fields.text_keys else list(map(int, ids))), [row["said"] for row in rows]
        pages.close()

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`; a row counts as written when its version is, which comes last."""
        ids = [str(one) for one in rows.ids] if self._fields.text_keys else rows.ids
        if not self._fields.text_keys and (other := [one for one in ids if not is_whole(one)]):
            raise DataError(
                f"{self.place}: was made for ids that are whole numbers, and a row has the id {other[0]}; give it up "
                "and begin again in a collection whose field of ids holds texts"
            )
        vectors = np.nan_to_num(vectors)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            places = range(start, min(start + _ROWS_AT_ONCE, len(rows)))
            sent = [self._row(rows, row, ids[row], vectors[row]) for row in places]
            self.remove([ids[row] for row in places])  # an upsert would leave fields that a row has no longer
            self.calls.run(partial(_insert, self.collection, sent))
            self.calls.run(partial(_insert, self.seen, [_seen(f"k{ids[row]}", versions[row]) for row in places]))

    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        # the client's own lists of ids quote no signs in them
        names, own = (", ".join(map(literal, some)) for some in ([f"k{one}" for one in ids], ids))
        self.calls.run(lambda client: client.delete(self.seen, filter=f"id in [{names}]"))
        self.calls.run(lambda client: client.delete(self.collection, filter=f"{self.key} in [{own}]"))

    def build_index(self) -> str:
        """See `NewIndex`."""
        self.calls.run(lambda client: client.flush(self.collection))
        self.calls.run(lambda client: client.flush(self.seen))
        kind = index_of(self.calls, self.collection, self.vector).get("index_type", "an index")
        return f"{kind}, which Milvus builds by itself"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        return self._opened()

    def give_up(self) -> None:
        """See `NewIndex`."""
        for name in (self.collection, self.seen):
            self.calls.run(partial(_drop, name))

    def finish(self) -> None:
        """See `NewIndex`."""
        self.calls.run(partial(_drop, self.seen))

    @cached_property
    def _fields(self) -> MilvusFields:
        return find_fields(self.calls, self.collection, self.vector)

    def _row(self, rows: IndexRows, row: int, one: Id, vector: np.ndarray) -> dict[str, Any]:
        found = {name: plain_value(value) for name, value in rows.payload[row].items()}
        if rows.texts is not None and self.text:
            found[self.text] = rows.texts[row]
        return {**found, self.key: one, self.vector: vector}

    def _kept(self, name: str) -> str | None:
        asked = {"filter": f"id == {literal(name)}", "output_fields": ["said"], "consistency_level": "Strong"}
        found = self.calls.run(lambda client: client.query(self.seen, **asked))
        return found[0]["said"] if found else None

    def _create_seen(self, client: Any) -> None:
        kinds = self.calls.library.DataType
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=_LONGEST)
        schema.add_field("said", kinds.VARCHAR, max_length=_LONGEST)
        schema.add_field("nowhere", kinds.FLOAT_VECTOR, dim=2)  # Milvus has no collection without vectors
        indexes = client.prepare_index_params()
        indexes.add_index("nowhere", index_type="FLAT", metric_type="L2")
        client.create_collection(self.seen, schema=schema, index_params=indexes)

    def _schema(self, dim: int, metric: Metric, like: IndexRows) -> tuple[Any, Any]:
        kinds, client = self.calls.library.DataType, self.calls.client
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        if all(map(is_whole, like.ids)):
            schema.add_field(self.key, kinds.INT64, is_primary=True)
        else:
            schema.add_field(self.key, kinds.VARCHAR, is_primary=True, max_length=_LONGEST)
        schema.add_field(self.vector, kinds.FLOAT_VECTOR, dim=dim)
        if self.text:
            schema.add_field(self.text, kinds.VARCHAR, max_length=_LONGEST, nullable=True)
        indexes = client.prepare_index_params()
        indexes.add_index(self.vector, index_type="AUTOINDEX", metric_type=_METRICS[metric])
        return schema, indexes

    def _like(self, dim: int) -> tuple[Any, Any]:
        """The schema and the indexes of another collection, for vectors of another width."""
        fields, client = find_fields(self.calls, str(self.like), self.vector), self.calls.client
        if fields.described.get("auto_id") or fields.described.get("functions"):
            what = "its ids" if fields.described.get("auto_id") else "some fields"
            raise DataError(
                f"collection {self.like}: Milvus makes {what} itself, and a copy could not keep them; move it with "
                "target=milvus to a collection of its own"
            )
        schema = client.create_schema(auto_id=False, enable_dynamic_field=fields.dynamic)
        for field in fields.described["fields"]:
            wanted = {key: field[key] for key in _KEPT if field.get(key) is not None}
            wanted |= field["params"] | ({"dim": dim} if field["name"] == self.vector else {})
            schema.add_field(field["name"], field["type"], **wanted)
        indexes = client.prepare_index_params()
        for name in fields.vectors:
            found = index_of(self.calls, str(self.like), name)
            kind, metric = found.pop("index_type", "AUTOINDEX"), found.pop("metric_type", "COSINE")
            params = {key: value for key, value in found.items() if key not in _SAID_OF_INDEXES}
            indexes.add_index(name, index_type=kind, metric_type=metric, params=params)
        return schema, indexes


_KEPT = ("is_primary", "nullable", "is_partition_key", "element_type", "description", "default_value")
_SAID_OF_INDEXES = {"field_name", "index_name", "total_rows", "indexed_rows", "pending_index_rows", "state"}


def _seen(one: str, said: str) -> dict[str, Any]:
    return {"id": one, "said": said, "nowhere": [0.0, 0.0]}


def _insert(collection: str, rows: list[dict[str, Any]], client: Any) -> None:
    client.insert(collection, rows)


def _drop(collection: str, client: Any) -> None:
    if client.has_collection(collection):
        client.drop_collection(collection)
