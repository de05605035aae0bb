"""A collection of Chroma, in a folder that its client keeps or behind a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import IndexDescription, Metric, VectorIndex
from alignkit.indexes.chroma_calls import METRICS, ChromaCalls
from alignkit.indexes.chroma_filters import DOCUMENT, ID, ChromaFilter, chroma_filter
from alignkit.indexes.chroma_replacement import ChromaReplacement
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.filters import Filter, conditions_of
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import EVERYTHING, NEW, OLD, beside, is_beside, is_ours, setting
from alignkit.indexes.usable import usable

_QUERIES_AT_ONCE = 64
_IDS_AT_ONCE = 4096
# of how many rows a cursor names the ids, so that it finds its place again where some of them were deleted
_TAIL = 16


class ChromaIndex(VectorIndex):
    """Rows in the order in which they were put in.

    A row that is deleted moves all later ones forward, so a cursor names the last rows that were seen.

    Args:
        collection: its name.
        path: the folder of a `PersistentClient`; `None` for a server.
        url: of the server.
        api_key_env: the name of the environment variable that holds the server's token.
        tenant: that the database belongs to.
        database: that the collection lies in.
        text: `document` for Chroma's own texts, else a field of the metadata; `None` for none.
        payload: fields of the metadata that are read with each row.
        client: an open client of chromadb, instead of an address.

    Raises:
        ConfigError: if the URL is none.
        DataError: if there is no such folder or collection, or it holds no vectors.
        EngineError: if the server cannot be reached, or refuses.
        MissingExtraError: without chromadb.
    """

    def __init__(
        self,
        collection: str,
        path: str | None = None,
        url: str = "http://127.0.0.1:8000",
        api_key_env: str | None = None,
        tenant: str = "default_tenant",
        database: str = "default_database",
        text: str | None = DOCUMENT,
        payload: Sequence[str] = (),
        client: Any = None,
    ) -> None:
        self.calls = ChromaCalls(url, path, api_key_env, tenant, database, client)
        self.collection, self.text, self.payload = collection, text, tuple(payload)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def hurry(self) -> None:
        """See `VectorIndex`."""
        self.calls.waits_s = ()

    def close(self) -> None:
        """See `VectorIndex`."""
        self.calls.close()

    def describe(self) -> IndexDescription:
        """See `VectorIndex`; its fields are those of the first rows."""
        rows = self.calls.run(lambda _: self.stored.count())
        fields = tuple(dict.fromkeys([ID, DOCUMENT, *self._first_metadata()]))
        return IndexDescription(rows, self.dim, "float32", self.metric, fields, f"collection {self.collection}")

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`; refused where the last rows that were seen are all gone."""
        offset, tail = after or (0, [])
        while True:
            offset = self._place_behind(offset, tail)
            found = self._get(limit=batch, offset=offset, include=self._wanted())
            if not found["ids"]:
                return
            offset, tail = offset + len(found["ids"]), [*tail, *found["ids"]][-_TAIL:]
            yield self._rows(found, [offset, tail])

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        asked = list(dict.fromkeys(str(one) for one in ids if one != ""))
        parts = [
            self._get(ids=asked[start : start + _IDS_AT_ONCE], include=self._wanted())
            for start in range(0, len(asked), _IDS_AT_ONCE)
        ] or [{"ids": []}]
        rows = self._rows({key: [one for part in parts for one in _listed(part, key)] for key in parts[0]})
        return in_order(rows, ids)

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`."""
        queries, rule = query_matrix(vectors, self.dim), self._rule(where)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            for row, hits in enumerate(self._hits(queries[start : start + _QUERIES_AT_ONCE], k, rule), start):
                ids.append([one for one, _ in hits])
                distances = np.array([far for _, far in hits], np.float32)
                scores[row, : len(hits)] = -np.sqrt(np.maximum(distances, 0)) if self.metric == "l2" else 1 - distances
        return ids, scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `ChromaReplacement`."""

        def opened(collection: str, **changes: Any) -> VectorIndex:
            settings = {"text": self.text, "payload": self.payload, "client": self.calls.client, **changes}
            return ChromaIndex(collection, **settings)

        whole = partial(opened, self.collection, text=DOCUMENT, payload=EVERYTHING)
        return ChromaReplacement(self.calls, self.collection, whole, opened, self._open)

    def _open(self) -> None:
        name = self.collection
        there = self.calls.names()
        if name not in there:
            # in the middle of being replaced, when for a moment none has the name
            if not {beside(name, NEW), beside(name, OLD)} <= there:
                known = ", ".join(sorted(one for one in there if not is_beside(one))) or "none"
                raise DataError(f"{setting('collection')}={name}: no such collection; there are: {known}")
            name = beside(name, OLD)
        self.stored = self.calls.collection(name)
        found = self._get(limit=1, include=["embeddings"])["embeddings"]
        if len(found) == 0:
            raise DataError(f"collection {self.collection}: holds no vectors")
        self.dim = len(found[0])
        configured = self.stored.configuration_json
        space = (configured.get("hnsw") or configured.get("spann") or {}).get("space")
        self.metric: Metric | None = METRICS.get(str(space))

    def _get(self, **asked: Any) -> dict[str, Any]:
        if asked.get("ids") == []:
            return {"ids": []}
        return self.calls.run(lambda _: self.stored.get(**asked))

    def _place_behind(self, offset: int, tail: list[str]) -> int:
        """Where the rows go on behind the last of those that were seen and are still there."""
        end, seen = offset, set(tail)
        while seen and end > 0:
            begin = max(0, end - (len(tail) if end == offset else _IDS_AT_ONCE))
            ids = self._get(limit=end - begin, offset=begin, include=[])["ids"]
            if here := [place for place, one in enumerate(ids) if one in seen]:
                return begin + here[-1] + 1
            end = begin
        if seen:
            raise DataError(
                f"collection {self.collection}: the last {len(tail)} rows that were read have been deleted since, so "
                "that nobody can say where to go on; begin again"
            )
        return 0

    def _hits(self, queries: np.ndarray, k: int, rule: ChromaFilter) -> list[list[tuple[str, float]]]:
        # Chroma fails where one of the ids is not there
        ids = rule.ids if rule.ids is None else self._get(ids=rule.ids, include=[])["ids"]
        if rule.nothing or ids == []:
            return [[] for _ in queries]
        asked: dict[str, Any] = {"query_embeddings": queries, "where": rule.where, "ids": ids}
        count = k
        while True:
            found = self.calls.run(
                partial(_query, self.stored, **asked, n_results=count, include=["distances", "metadatas"])
            )
            hits = [
                [(one, far) for one, far, metadata in zip(*line, strict=True) if rule.passes(one, metadata)]
                for line in zip(found["ids"], found["distances"], found["metadatas"], strict=True)
            ]
            # more, where some did not pass and there may be others
            if all(len(line) >= k or len(ids) < count for line, ids in zip(hits, found["ids"], strict=True)):
                return [line[:k] for line in hits]
            count *= 4

    def _rule(self, where: Filter | None) -> ChromaFilter:
        known, place = self._first_metadata() if where else {}, f"collection {self.collection}"
        lists = [name for name, value in known.items() if isinstance(value, list)]
        fields = [ID, DOCUMENT, *known]
        try:
            return chroma_filter(conditions_of(where, fields, place), lists)
        except DataError:
            # fields that none of the first rows has, but another
            further = [name for name in where or {} if name not in fields and isinstance(name, str)]
            asked = chroma_filter(conditions_of(where, [*fields, *further], place), lists)
            if all(self._one_passes({name: (where or {})[name]}) for name in further):
                return asked
            raise

    def _one_passes(self, where: Filter) -> bool:
        rule = chroma_filter(conditions_of(where, list(where), ""), ())
        return not rule.nothing and bool(self._get(where=rule.where, limit=1, include=[])["ids"])

    def _first_metadata(self) -> dict[str, Any]:
        """The fields of the first rows, each with a value."""
        found = self._get(limit=64, include=["metadatas"])["metadatas"]
        return {name: value for one in found for name, value in (one or {}).items() if not is_ours(name)}

    def _wanted(self) -> list[str]:
        fields = self.payload or (self.text or DOCUMENT) != DOCUMENT
        return ["embeddings", *(["documents"] if self.text == DOCUMENT else []), *(["metadatas"] if fields else [])]

    def _rows(self, found: dict[str, Any], cursor: Cursor = None) -> IndexRows:
        ids = found["ids"]
        vectors, faults = usable(np.asarray(_listed(found, "embeddings"), np.float32).reshape(len(ids), self.dim))
        metadata = [one or {} for one in _listed(found, "metadatas") or [None] * len(ids)]
        texts = _listed(found, "documents") if self.text == DOCUMENT else [one.get(self.text) for one in metadata]
        return IndexRows(
            ids=list(ids),
            vectors=vectors,
            texts=None if self.text is None else ["" if one is None else str(one) for one in texts],
            payload=[self._fields(one) for one in metadata],
            cursor=cursor,
            faults=faults,
        )

    def _fields(self, metadata: dict[str, Any]) -> dict[str, Any]:
        if self.payload != EVERYTHING:
            return {name: metadata.get(name) for name in self.payload}
        return {name: value for name, value in metadata.items() if name != self.text and not is_ours(name)}


def _query(stored: Any, _client: Any, **asked: Any) -> dict[str, Any]:
    return stored.query(**asked)


def _listed(found: dict[str, Any], key: str) -> list[Any]:
    part = found.get(key)
    return [] if part is None else list(part)
