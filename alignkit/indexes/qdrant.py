"""A collection of Qdrant, behind a server or in a folder that its client keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from alignkit.errors import DataError, EngineError
from alignkit.indexes.base import IndexDescription, Metric, VectorIndex
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.filters import Filter, conditions_of
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order, whole_ids
from alignkit.indexes.new_index import ORIGINAL_ID
from alignkit.indexes.qdrant_calls import QdrantCalls
from alignkit.indexes.qdrant_fields import json_path, wanted_fields
from alignkit.indexes.qdrant_filters import ID, qdrant_filter
from alignkit.indexes.qdrant_ids import point_id, row_id
from alignkit.indexes.qdrant_replacement import QdrantReplacement
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import EVERYTHING, is_ours, setting
from alignkit.indexes.usable import matrix_of

_METRICS: dict[str, Metric] = {"Cosine": "cosine", "Dot": "dot", "Euclid": "l2"}
_DISTANCES = {"Euclid", "Manhattan"}
_QUERIES_AT_ONCE = 64


class QdrantIndex(VectorIndex):
    """Points in the order of their ids, so that points which come and go meanwhile do no harm.

    A collection whose metric is the cosine holds vectors of length 1, whatever was put in. Points that a migration gave
    a UUID, since Qdrant did not take their ids, go by those.

    Args:
        collection: its name, or an alias.
        url: of the server.
        path: of a folder that the client keeps, instead of a server; only one process can open it.
        api_key_env: the name of the environment variable that holds the key.
        vector: the name of the vector; `None` takes the only one.
        text: the payload's field of texts, `a.b` for one inside another; `None` for none.
        payload: further fields of the payload that are read with each point.
        client: an open `QdrantClient`, instead of an address.

    Raises:
        DataError: if there is no such collection or vector.
        EngineError: if the server cannot be reached, or refuses.
        MissingExtraError: without qdrant-client.
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
        self._fields: tuple[str, ...] = ()
        self.collection, self.text, self.payload = collection, text, tuple(payload)
        try:
            if not self.calls.run(lambda client: client.collection_exists(collection), patient=False):
                there = [one.name for one in self.calls.run(lambda client: client.get_collections()).collections]
                raise DataError(
                    f"{setting('collection')}={collection}: no such collection; there are: {', '.join(there) or 'none'}"
                )
            self._asked_vector = vector
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def parallel(self) -> bool:
        """See `VectorIndex`; a folder can be opened only once."""
        return not self.calls.local

    def hurry(self) -> None:
        """See `VectorIndex`."""
        self.calls.waits_s = ()

    def close(self) -> None:
        """See `VectorIndex`."""
        self.calls.close()

    def describe(self) -> IndexDescription:
        """See `VectorIndex`; its fields are those of the first points."""
        rows = self.calls.run(lambda client: client.count(self.collection, exact=True)).count
        self._fields = self._fields_now()
        distance, dtype = str(self.parameters.distance.value), self.parameters.datatype
        place = f"collection {self.collection}" + (f", vector {self.vector}" if self.vector else "")
        return IndexDescription(
            rows,
            self.dim,
            dtype.value if dtype else "float32",
            _METRICS.get(distance),
            self._fields,
            place,
            normalizes=distance == "Cosine",
        )

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        while True:
            # the offset is the first to come; the last that was seen may have been deleted since
            points = self._scroll(after, batch + (after is not None))
            points = [point for point in points if point.id != after][:batch]
            if not points:
                return
            yield self._rows(points)
            after = points[-1].id

    def _marks(self, rows: int) -> Iterator[tuple[Cursor, int]]:
        """See `VectorIndex`."""
        after = None
        while True:
            points = self.calls.run(partial(self._ids_behind, after, rows))
            if not points:
                return
            after = points[-1].id
            yield after, len(points)

    def _ids_behind(self, after: Cursor, count: int, client: Any) -> list[Any]:
        limit = count + (after is not None)
        found = client.scroll(self.collection, limit=limit, offset=after, with_payload=False, with_vectors=False)[0]
        return [point for point in found if point.id != after][:count]

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        asked = list(dict.fromkeys([*map(point_id, ids), *(one for one in whole_ids(ids) if one >= 0)]))
        wanted = {"with_payload": self._payload_fields(), "with_vectors": self._vector_names()}
        points = self.calls.run(lambda client: client.retrieve(self.collection, asked, **wanted)) if asked else []
        return in_order(self._rows(points), ids)

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; where its graph leads to too few points that pass, all that pass are compared."""
        queries, rule = query_matrix(vectors, self.dim), self._rule(where)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = queries[start : start + _QUERIES_AT_ONCE]
            answers = self.calls.run(partial(self._asked, block, k, rule, False))
            if rule is not None and not self.calls.local and any(len(answer.points) < k for answer in answers):
                answers = self.calls.run(partial(self._asked, block, k, rule, True))
            for row, answer in enumerate(answers, start):
                ids.append([row_id(point) for point in answer.points])
                scores[row, : len(answer.points)] = [point.score for point in answer.points]
        return ids, np.where(np.isneginf(scores), scores, -scores) if self._distance() in _DISTANCES else scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `QdrantReplacement`."""

        def opened(collection: str) -> VectorIndex:
            return QdrantIndex(
                collection, vector=self._asked_vector, text=self.text, payload=self.payload, client=self.calls.client
            )

        return QdrantReplacement(self, self.calls, self.collection, self.vector, self._open, opened)

    def _open(self) -> None:
        self.vector, self.parameters = self._vector(self._asked_vector)
        self.dim = int(self.parameters.size)

    def _rule(self, where: Filter | None) -> Any:
        if not where:
            return None
        fields, place = self._fields, f"collection {self.collection}"
        try:
            conditions = conditions_of(where, fields, place)
        except DataError:
            if not isinstance(where, Mapping):
                raise
            # points may have got new fields since
            self._fields = self._fields_now(where)
            conditions = conditions_of(where, self._fields, place)
        return qdrant_filter(conditions, self.calls.models, self._keys)

    def _fields_now(self, further: Iterable[str] = ()) -> tuple[str, ...]:
        """Those of the first points, those with an index, and those of the further ones that some point has."""
        first = self.calls.run(lambda client: client.scroll(self.collection, limit=64, with_payload=True))[0]
        indexed = self.calls.run(lambda client: client.get_collection(self.collection)).payload_schema or {}
        self._keys = {key for point in first for key in point.payload or {}}
        named = [*(key for point in first for key in point.payload or {}), *indexed]
        found = dict.fromkeys([ID, *(name for name in named if not is_ours(name))])
        models = self.calls.models
        for name in further:
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=json_path(str(name))))
            having = partial(self._one_of, models.Filter(must_not=[empty]))
            with suppress(DataError, EngineError):  # what is no name of a field either
                if name not in found and self.calls.run(having):
                    found[str(name)] = None
        return tuple(found)

    def _one_of(self, rule: Any, client: Any) -> Any:
        return client.scroll(self.collection, scroll_filter=rule, limit=1, with_payload=False)[0]

    def _asked(self, queries: np.ndarray, k: int, rule: Any, exact: bool, client: Any) -> Any:
        models = self.calls.models
        how = models.SearchParams(exact=True) if exact else None
        request = partial(
            models.QueryRequest, using=self.vector or None, limit=k, filter=rule, params=how, with_payload=[ORIGINAL_ID]
        )
        asked = [request(query=query.tolist()) for query in queries]
        return client.query_batch_points(self.collection, asked)

    def _vector(self, asked: str | None) -> tuple[str, Any]:
        """The vector's name, "" for the nameless one, and its parameters."""
        found = self.calls.run(lambda client: client.get_collection(self.collection)).config.params.vectors
        found = found if isinstance(found, dict) else {"": found}
        dense = {name: one for name, one in found.items() if one is not None and not one.multivector_config}
        if (asked is None and len(dense) != 1) or (asked is not None and asked not in dense):
            names = ", ".join(name or "(nameless)" for name in dense) or "none"
            got = "none is named" if asked is None else f"got {asked}"
            raise DataError(
                f"collection {self.collection}: vectors: {names}; expected one as {setting('vector')}=…, {got}"
            )
        name = next(iter(dense)) if asked is None else asked
        return name, dense[name]

    def _distance(self) -> str:
        return str(self.parameters.distance.value)

    def _scroll(self, offset: Cursor, limit: int) -> list[Any]:
        fields, names = self._payload_fields(), self._vector_names()
        return self.calls.run(
            lambda client: client.scroll(
                self.collection, limit=limit, offset=offset, with_payload=fields, with_vectors=names
            )
        )[0]

    def _payload_fields(self) -> list[str] | bool:
        if self.payload == EVERYTHING:
            return True
        return wanted_fields([name for name in (ORIGINAL_ID, self.text, *self.payload) if name])

    def _vector_names(self) -> list[str] | bool:
        return [self.vector] if self.vector else True

    def _rows(self, points: Sequence[Any]) -> IndexRows:
        raw = [point.vector.get(self.vector) if isinstance(point.vector, dict) else point.vector for point in points]
        vectors, faults = matrix_of(raw, self.dim)
        found = [point.payload or {} for point in points]
        return IndexRows(
            ids=[row_id(point) for point in points],
            vectors=vectors,
            texts=None if self.text is None else [_text(_field(one, self.text)) for one in found],
            payload=[self._payload_of(one) for one in found],
            cursor=points[-1].id if points else None,
            faults=faults,
        )

    def _payload_of(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self.payload != EVERYTHING:
            return {name: _field(payload, name) for name in self.payload}
        return {name: value for name, value in payload.items() if name != self.text and not is_ours(name)}


def _field(payload: dict[str, Any], name: str) -> Any:
    if name in payload:
        return payload[name]
    for part in name.split("."):
        payload = payload.get(part) if isinstance(payload, dict) else None  # type: ignore[assignment]
    return payload


def _text(value: object) -> str:
    return "" if value is None else str(value)
