"""Vectors as JSON, in pieces: the event loop runs between them, so a large answer holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import orjson
import pybase64

# so many numbers take a few milliseconds to write
PIECE_NUMBERS = 100_000


def as_numbers(vectors: np.ndarray) -> list[bytes]:
    """Each row of `(N, D)` as a JSON list, every number in its shortest exact form.

    >>> as_numbers(np.array([[0.5, -0.25]], dtype=np.float32))
    [b'[0.5,-0.25]']
    """
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in np.ascontiguousarray(vectors)]


def as_base64(vectors: np.ndarray) -> list[bytes]:
    """Each row of `(N, D)` as a JSON text: base64 of little-endian float32.

    >>> as_base64(np.array([[0.5]], dtype=np.float32))
    [b'"AAAAPw=="']
    """
    return [b'"%b"' % pybase64.b64encode(row) for row in np.ascontiguousarray(vectors, dtype="<f4")]


async def write_rows(vectors: np.ndarray, write: Callable[[np.ndarray], list[bytes]]) -> list[bytes]:
    """The rows of `(N, D)` by one of the functions above, yielding to the event loop in between."""
    rows_a_piece = max(1, PIECE_NUMBERS // max(1, vectors.shape[1]))
    written = write(vectors[:rows_a_piece])
    for start in range(rows_a_piece, len(vectors), rows_a_piece):
        await asyncio.sleep(0)
        written += write(vectors[start : start + rows_a_piece])
    return written
