"""A collection of Milvus, behind a server or in a file of Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from alignkit.indexes.base import IndexDescription, VectorIndex
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.filters import Filter, conditions_of
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order
from alignkit.indexes.milvus_calls import MilvusCalls, literal
from alignkit.indexes.milvus_fields import find_fields, numbers
from alignkit.indexes.milvus_filters import NOTHING, milvus_filter
from alignkit.indexes.milvus_replacement import MilvusReplacement
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import EVERYTHING, check_columns, is_ours
from alignkit.indexes.usable import matrix_of

_QUERIES_AT_ONCE = 64
_IDS_AT_ONCE = 1024
# that a server gives at once
_MOST_HITS = 16_384


class MilvusIndex(VectorIndex):
    """Rows in the order of their ids, so that rows which come and go meanwhile do no harm.

    Args:
        collection: its name, or an alias.
        url: of the server.
        path: of a file of Milvus Lite, instead of a server; only one process can open it.
        api_key_env: the name of the environment variable that holds the token.
        database: that the collection lies in.
        vector: the field of vectors; `None` takes the only one.
        text: the field of texts; `None` for none.
        payload: further fields that are read with each row, declared or not.
        client: an open `MilvusClient`, instead of an address.

    Raises:
        DataError: if there is no such file, collection or field.
        EngineError: if the server cannot be reached, or refuses.
        MissingExtraError: without pymilvus.
    """

    def __init__(
        self,
        collection: str,
        url: str = "http://127.0.0.1:19530",
        path: str | None = None,
        api_key_env: str | None = None,
        database: str = "default",
        vector: str | None = None,
        text: str | None = None,
        payload: Sequence[str] = (),
        client: Any = None,
    ) -> None:
        self.calls = MilvusCalls(url, path, api_key_env, database, client)
        self.collection, self.text, self.payload = collection, text, tuple(payload)
        self.also: tuple[str, ...] = ()  # fields of other vectors that are read with each row
        self._asked_vector = vector
        try:
            self._open()
            if not self.fields.dynamic:
                asked = (("text", text), *(("payload", one) for one in self.payload if self.payload != EVERYTHING))
                check_columns(asked, list(self.fields.kinds), collection, self.fields.vector)
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
        """See `VectorIndex`; fields that are not declared are those of the first rows."""
        rows = self._query("", ["count(*)"])[0]["count(*)"]
        place = f"collection {self.collection}, vector {self.fields.vector}"
        return IndexDescription(
            int(rows), self.fields.dim, self.fields.dtype, self.fields.metric, tuple(self._known()), place
        )

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        # a query with a limit gives the rows in any order
        behind = "" if after is None else f"{self.fields.key} > {literal(after)}"
        asked = {"filter": behind, "batch_size": batch, "output_fields": self._wanted()}
        pages = self.calls.run(
            lambda client: client.query_iterator(self.collection, consistency_level="Strong", **asked)
        )
        while found := self.calls.run(lambda _: pages.next(), patient=False):
            yield self._rows(found)
        pages.close()

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        found: list[dict[str, Any]] = []
        asked = list(dict.fromkeys(self.fields.possible(ids)))
        for start in range(0, len(asked), _IDS_AT_ONCE):
            among = ", ".join(map(literal, asked[start : start + _IDS_AT_ONCE]))
            found += self._query(f"{self.fields.key} in [{among}]", self._wanted())
        return in_order(self._rows(found), ids)

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; at most 16,384 hits, as Milvus gives no more."""
        queries, rule = query_matrix(vectors, self.fields.dim), self._rule(where)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = queries[start : start + _QUERIES_AT_ONCE]
            answers = [[] for _ in block] if rule == NOTHING else self.calls.run(partial(self._asked, block, k, rule))
            for row, hits in enumerate(answers, start):
                ids.append([hit.get(self.fields.key, hit.get("id")) for hit in hits])
                found = np.array([hit["distance"] for hit in hits], np.float32)
                scores[row, : len(hits)] = -np.sqrt(np.maximum(found, 0)) if self.fields.metric == "l2" else found
        return ids, scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `MilvusReplacement`."""

        def opened(collection: str) -> MilvusIndex:
            settings = {"vector": self.fields.vector, "client": self.calls.client}
            return MilvusIndex(collection, text=self.text, payload=self.payload, **settings)

        def whole() -> MilvusIndex:
            index = MilvusIndex(
                self.collection, vector=self.fields.vector, payload=EVERYTHING, client=self.calls.client
            )
            index.also = tuple(name for name in self.fields.vectors if name != self.fields.vector)
            return index

        names = (self.fields.key, self.fields.vector)
        return MilvusReplacement(self.calls, self.collection, names, whole, opened, self._open)

    def _open(self) -> None:
        self.fields = find_fields(self.calls, self.collection, self._asked_vector)

    def _asked(self, queries: np.ndarray, k: int, rule: str, client: Any) -> Any:
        return client.search(
            self.collection,
            data=queries.tolist(),
            anns_field=self.fields.vector,
            limit=min(k, _MOST_HITS),
            filter=rule,
            output_fields=[self.fields.key],
        )

    def _query(self, where: str, fields: list[str], **further: Any) -> list[dict[str, Any]]:
        asked = {"filter": where, "output_fields": fields, "consistency_level": "Strong", **further}
        return list(self.calls.run(lambda client: client.query(self.collection, **asked)))

    def _rule(self, where: Filter | None) -> str:
        if not where:
            return ""
        known, place = self._known(), f"collection {self.collection}"
        further = [
            name
            for name in where
            if self.fields.dynamic and isinstance(name, str) and name not in known and self._some_have(name)
        ]
        conditions = conditions_of(where, [*known, *further], place)
        return milvus_filter(conditions, self.fields, [name for name, one in known.items() if isinstance(one, list)])

    def _some_have(self, name: str) -> bool:
        """Whether a row has a field that is not declared, and that none of the first rows has."""
        return bool(self._query(f"exists $meta[{literal(name)}]", [self.fields.key], limit=1))

    def _known(self) -> dict[str, Any]:
        """All fields but those of vectors, each with a value of the first rows."""
        found: dict[str, Any] = dict.fromkeys([self.fields.key, *self.fields.kinds])
        if self.fields.dynamic:
            for row in self._query("", ["*"], limit=64):
                found |= {name: one for name, one in row.items() if name not in self.fields.vectors}
        return {name: one for name, one in found.items() if not is_ours(name)}

    def _wanted(self) -> list[str]:
        if self.payload == EVERYTHING:
            return ["*", *self.fields.vectors]
        names = (self.fields.key, self.fields.vector, self.text, *self.payload)
        return [name for name in dict.fromkeys(names) if name]

    def _rows(self, found: Sequence[dict[str, Any]]) -> IndexRows:
        vectors, faults = matrix_of([numbers(row.get(self.fields.vector)) for row in found], self.fields.dim)
        return IndexRows(
            ids=[row[self.fields.key] for row in found],
            vectors=vectors,
            texts=None if self.text is None else [_text(row.get(self.text)) for row in found],
            payload=[self._payload(row) for row in found],
            cursor=found[-1][self.fields.key] if found else None,
            faults=faults,
        )

    def _payload(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.payload != EVERYTHING:
            return {name: row.get(name) for name in self.payload}
        own = {self.fields.key, self.text, *self.fields.vectors} - set(self.also)
        return {name: value for name, value in row.items() if name not in own and not is_ours(name)}


def _text(value: object) -> str:
    return "" if value is None else str(value)
