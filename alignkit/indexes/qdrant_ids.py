"""Ids of rows as Qdrant takes them: whole numbers and UUIDs."""

from __future__ import annotations

import uuid
from typing import Any

from alignkit.indexes.index_rows import Id
from alignkit.indexes.new_index import ORIGINAL_ID

_MOST = 2**64


def point_id(row: Id) -> int | str:
    """The id of a row's point: its own where Qdrant takes that and gives it back as it is, else a UUID made from it.

    >>> point_id(7), point_id("0c1d4a39-1e2b-4a3b-9c2d-0123456789ab")
    (7, '0c1d4a39-1e2b-4a3b-9c2d-0123456789ab')
    >>> point_id("doc-7") == str(uuid.uuid5(uuid.NAMESPACE_URL, "doc-7")) == point_id("doc-7")
    True
    """
    if isinstance(row, int) and not isinstance(row, bool) and 0 <= row < _MOST:
        return row
    name = str(row)
    try:
        if not isinstance(row, int) and str(uuid.UUID(name)) == name:
            return name
    except ValueError:
        pass
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def row_id(point: Any) -> Id:
    """The id of a point's row: its own, or the one that its payload keeps."""
    return (point.payload or {}).get(ORIGINAL_ID, point.id)
