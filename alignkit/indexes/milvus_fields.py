"""What the schema of a collection of Milvus says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric
from alignkit.indexes.index_rows import Id, whole_ids
from alignkit.indexes.milvus_calls import METRICS, MilvusCalls
from alignkit.indexes.replacing import setting

DTYPES = {"FLOAT_VECTOR": "float32", "FLOAT16_VECTOR": "float16"}


@dataclass(frozen=True)
class MilvusFields:
    """The fields of a collection.

    Attributes:
        described: what Milvus says of it.
        key: the field of ids.
        vector: the field of vectors that is read.
        vectors: all such fields, whatever they hold.
        kinds: scalar fields with the names of their types.
        dim: width of the vectors.
        metric: that they are searched by; `None` for another.
        dtype: of the stored numbers.
    """

    described: dict[str, Any]
    key: str
    vector: str
    vectors: tuple[str, ...]
    kinds: dict[str, str]
    dim: int
    metric: Metric | None
    dtype: str

    @property
    def dynamic(self) -> bool:
        """Whether rows have fields that are not declared."""
        return bool(self.described.get("enable_dynamic_field"))

    @property
    def text_keys(self) -> bool:
        """Whether ids are texts; otherwise they are whole numbers."""
        return self.kinds[self.key] == "VARCHAR"

    def possible(self, ids: Sequence[Id]) -> list[Id]:
        """Those of the ids that a row could have, as the collection has them."""
        if self.text_keys:
            return [str(one) for one in ids]
        return list(whole_ids(ids))


def find_fields(calls: MilvusCalls, collection: str, vector: str | None) -> MilvusFields:
    """The fields of a collection, and which of them holds the vectors.

    Args:
        calls: to Milvus.
        collection: its name, or an alias.
        vector: the field that is asked for; `None` takes the only one.

    Raises:
        DataError: if there is no such collection or field, or it holds something other than floats.
    """
    if calls.behind(collection) is None:
        there = ", ".join(calls.names()) or "none"
        raise DataError(f"{setting('collection')}={collection}: no such collection; there are: {there}")
    calls.load(collection)
    described = calls.run(lambda client: client.describe_collection(collection))
    kinds = {field["name"]: field["type"].name for field in described["fields"]}
    vectors = [name for name, kind in kinds.items() if kind.endswith("VECTOR")]
    readable = [name for name in vectors if kinds[name] in DTYPES]
    if (vector is None and len(readable) != 1) or (vector is not None and vector not in readable):
        got = "none is named" if vector is None else f"got {vector}"
        raise DataError(
            f"collection {collection}: fields of vectors of floats: {', '.join(readable) or 'none'}; expected one as "
            f"{setting('vector')}=…, {got}"
        )
    chosen = vector or readable[0]
    field = next(one for one in described["fields"] if one["name"] == chosen)
    key = next(one["name"] for one in described["fields"] if one.get("is_primary"))
    return MilvusFields(
        described=described,
        key=key,
        vector=chosen,
        vectors=tuple(vectors),
        kinds={name: kind for name, kind in kinds.items() if name not in vectors},
        dim=int(field["params"]["dim"]),
        metric=METRICS.get(str(index_of(calls, collection, chosen).get("metric_type"))),
        dtype=DTYPES[kinds[chosen]],
    )


def index_of(calls: MilvusCalls, collection: str, vector: str) -> dict[str, Any]:
    """What Milvus says of the index of a field of vectors; empty for none."""
    names = calls.run(lambda client: client.list_indexes(collection, field_name=vector))
    if not names:
        return {}
    return dict(calls.run(lambda client: client.describe_index(collection, names[0])) or {})


def numbers(value: Any) -> np.ndarray | None:
    """A vector as Milvus gives it: numbers, or the bytes of half ones."""
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes):
        value = value[0]
    return np.frombuffer(value, np.float16) if isinstance(value, bytes) else np.asarray(value)
