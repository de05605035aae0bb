"""A new collection of Qdrant, filled with the rows of another index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from alignkit.errors import EngineError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows
from alignkit.indexes.new_index import ORIGINAL_ID, VERSION, NewIndex, taken
from alignkit.indexes.plain_values import plain_value
from alignkit.indexes.qdrant import QdrantIndex
from alignkit.indexes.qdrant_calls import QdrantCalls
from alignkit.indexes.qdrant_ids import point_id, row_id
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import NEW, beside

# the server refuses requests of more than 32 MB
_POINTS_AT_ONCE = 256
_NOTE = "alignkit_move"
_DISTANCES: dict[Metric, str] = {"cosine": "Cosine", "dot": "Dot", "l2": "Euclid"}


class NewQdrantIndex(NewIndex):
    """A collection behind an alias of its own, which becomes the given one at `cut_over`.

    An id that is neither a whole number nor a UUID becomes the UUIDv5 of it in the namespace of URLs, and stays in the
    payload. The note is the collection's metadata, which servers before 1.16 do not keep: they are refused.

    Args:
        collection: the alias that applications will read.
        url: as `QdrantIndex` has it, like those below.
        path: see there.
        api_key_env: see there.
        vector: the name of the vector; `None` for a nameless one.
        text: the payload's field for texts; `None` for "text".
        payload: all is kept.
        client: see there.
    """

    def __init__(
        self,
        collection: str,
        url: str = "http://127.0.0.1:6333",
        path: str | None = None,
        api_key_env: str | None = None,
        vector: str | None = None,
        text: str | None = None,
        payload: Sequence[str] = (),
        client: Any = None,
    ) -> None:
        self.calls = QdrantCalls(url, path, api_key_env, client)
        self.alias, self.new = collection, beside(collection, NEW)
        self.vector, self.text = vector or "", text or "text"
        self.place, self.own_fields = f"collection {collection} of Qdrant", (self.text,)

    def close(self) -> None:
        """See `NewIndex`."""
        self.calls.close()

    @property
    def written_together(self) -> bool:
        """See `NewIndex`."""
        return not self.calls.local

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            f"Qdrant gets a new collection, which becomes {self.alias} at cut_over and is hidden again by roll_back; "
            "an id that is neither a whole number nor a UUID becomes a UUIDv5, and stays in the payload"
        )

    def note(self) -> Note | None:
        """See `NewIndex`."""
        collection = self._collection()
        if collection is None:
            if self.calls.run(lambda client: client.collection_exists(self.alias)):
                raise taken(self.place)
            return None
        if (found := self._kept(collection)) is None:
            raise taken(self.place)
        return found

    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        self.calls.run(lambda client: client.update_collection(self._collection(), metadata={_NOTE: note}))

    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`."""
        models, name = self.calls.models, self._free_name()
        params = models.VectorParams(size=dim, distance=models.Distance(_DISTANCES[metric]))
        vectors = {self.vector: params} if self.vector else params
        alias = models.CreateAlias(collection_name=name, alias_name=self.new)

        def work(client: Any) -> None:
            if not client.collection_exists(name):
                client.create_collection(name, vectors_config=vectors, metadata={_NOTE: note})
            client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])

        self.calls.run(work)
        if self._kept(name) is None:
            self.give_up()
            raise EngineError(
                f"{self.place}: this server keeps no metadata of collections; expected Qdrant 1.16 or later"
            )

    def dim(self) -> int:
        """See `NewIndex`."""
        found = self.calls.run(lambda client: client.get_collection(self._collection())).config.params.vectors
        return int((found[self.vector] if isinstance(found, dict) else found).size)

    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`."""
        collection, offset = self._collection(), None
        asked = partial(self._scrolled, collection, batch)
        while True:
            points, offset = self.calls.run(partial(asked, offset))
            if points:
                yield [row_id(point) for point in points], [(point.payload or {}).get(VERSION, "") for point in points]
            if offset is None:
                return

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`."""
        collection = self._collection()
        for start in range(0, len(rows), _POINTS_AT_ONCE):
            places = range(start, min(start + _POINTS_AT_ONCE, len(rows)))
            points = [self._point(rows, row, vectors[row], versions[row]) for row in places]
            self.calls.run(partial(_upsert, collection, points))

    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        points = self.calls.models.PointIdsList(points=[point_id(one) for one in ids])
        self.calls.run(lambda client: client.delete(self._collection(), points, wait=True))

    def build_index(self) -> str:
        """See `NewIndex`."""
        return "HNSW, which Qdrant builds by itself"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        return QdrantIndex(
            self._collection() or self.alias,
            vector=self.vector,
            text=self.text,
            payload=["*"],
            client=self.calls.client,
        )

    def cut_over(self) -> None:
        """See `NewIndex`."""
        self._turn(self.alias, self.new)

    def roll_back(self) -> None:
        """See `NewIndex`."""
        self._turn(self.new, self.alias)

    def finish(self) -> None:
        """See `NewIndex`."""
        collection, everything = self._collection(), self.calls.models.Filter()
        self.calls.run(lambda client: client.delete_payload(collection, [VERSION], everything, wait=True))
        self.calls.run(lambda client: client.update_collection(collection, metadata={_NOTE: None}))

    def give_up(self) -> None:
        """See `NewIndex`."""
        collection, models = self._collection(), self.calls.models
        delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.new))
        self.calls.run(lambda client: client.delete_collection(collection))
        self.calls.run(lambda client: self.new in self._aliases() and client.update_collection_aliases([delete]))

    def _point(self, rows: IndexRows, row: int, vector: np.ndarray, version: str) -> Any:
        own = rows.ids[row]
        payload = {name: plain_value(value) for name, value in rows.payload[row].items()}
        if rows.texts is not None:
            payload[self.text] = rows.texts[row]
        if (point := point_id(own)) != own:
            # a UUID that another engine gives as an object is its text here
            payload |= {} if str(own) == point else {ORIGINAL_ID: plain_value(own)}
        listed = None if np.isnan(vector[0]) else vector.tolist()
        given = {} if listed is None else {self.vector: listed} if self.vector else listed
        return self.calls.models.PointStruct(id=point, vector=given, payload={**payload, VERSION: version})

    def _scrolled(self, collection: str | None, batch: int, offset: Any, client: Any) -> Any:
        return client.scroll(
            collection, limit=batch, offset=offset, with_payload=[VERSION, ORIGINAL_ID], with_vectors=False
        )

    def _collection(self) -> str | None:
        """The one that was begun."""
        aliases = self._aliases()
        return aliases.get(self.new) or aliases.get(self.alias)

    def _aliases(self) -> dict[str, str]:
        found = self.calls.run(lambda client: client.get_aliases()).aliases
        return {one.alias_name: one.collection_name for one in found}

    def _kept(self, collection: str) -> Note | None:
        return (self.calls.run(lambda client: client.get_collection(collection)).config.metadata or {}).get(_NOTE)

    def _free_name(self) -> str:
        """A name that is not taken, or of a collection that was begun and got no alias before the process ended."""
        there = {one.name for one in self.calls.run(lambda client: client.get_collections()).collections}
        behind = set(self._aliases().values())
        names = (f"{self.alias}_{number}" for number in range(1, len(there) + 2))
        return next(
            name for name in names if name not in there or (name not in behind and self._kept(name) is not None)
        )

    def _turn(self, coming: str, going: str) -> None:
        models, aliases = self.calls.models, self._aliases()
        if coming in aliases:
            return
        alias = models.CreateAlias(collection_name=aliases[going], alias_name=coming)
        operations = [
            models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=going)),
            models.CreateAliasOperation(create_alias=alias),
        ]
        self.calls.run(lambda client: client.update_collection_aliases(operations))


def _upsert(collection: str | None, points: list[Any], client: Any) -> None:
    client.upsert(collection, points, wait=True)
