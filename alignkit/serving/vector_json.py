"""Vectors as JSON, in pieces: the event loop runs between them, so a large answer holds nobody up."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import orjson
import pybase64

# so many numbers take a few milliseconds to write
PIECE_NUMBERS = 100_000


def as_json(content: Any) -> bytes:
    """JSON of an answer; every number of a vector has its shortest exact form.

    >>> as_json({"embedding": np.array([0.5, -0.25], dtype=np.float32)})
    b'{"embedding":[0.5,-0.25]}'
    """
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


async def rows_of(vectors: np.ndarray, base64: bool = False) -> list[Any]:
    """The rows of `(N, D)` float32 for `as_json`, which writes the numbers of a small answer itself.

    Args:
        vectors: of the texts.
        base64: each row as a text, of little-endian float32.
    """
    vectors = np.ascontiguousarray(vectors, dtype="<f4")
    if not base64 and vectors.size <= PIECE_NUMBERS:
        return list(vectors)
    rows_a_piece = max(1, PIECE_NUMBERS // max(1, vectors.shape[1]))
    rows: list[Any] = []
    for start in range(0, len(vectors), rows_a_piece):
        if start:
            await asyncio.sleep(0)
        piece = vectors[start : start + rows_a_piece]
        rows += map(pybase64.b64encode_as_string, piece) if base64 else map(orjson.Fragment, map(as_json, piece))
    return rows
