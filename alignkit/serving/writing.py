"""Vectors as JSON, piece by piece: the loop turns between the pieces, so that a large answer holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pybase64

# a piece of so many numbers is written in some milliseconds
PIECE_NUMBERS = 100_000
_SCALE = 10**8
# the four digits of 0 to 9999 as the four bytes of one number
_DIGITS = np.frombuffer(b"".join(b"%04d" % number for number in range(10_000)), dtype=np.uint32)
_SIGNS = np.frombuffer(b", 0.,-0.", dtype=np.uint32)


def as_numbers(vectors: np.ndarray) -> list[bytes]:
    """Each row of `(N, D)` with values from -1 to 1 as a JSON list with eight decimals.

    That is 5e-9 off at most, less than float32 can tell apart at the vectors' length of 1; base64 has all bits. A
    general writer, which looks for each number's shortest form, takes four times as long.

    >>> as_numbers(np.array([[0.5, -0.25], [1.0, 0.0]], dtype=np.float32))
    [b'[ 0.50000000,-0.25000000]', b'[ 0.99999999, 0.00000000]']
    """
    count, width = vectors.shape
    # in float64: in float32 the product would be rounded once more
    whole = (np.abs(vectors) * np.float64(_SCALE) + 0.5).astype(np.int32)
    # no digit before the point: 1 is written as the largest number below, which is 1 again in float32
    np.minimum(whole, _SCALE - 1, out=whole)
    high = whole // 10_000
    whole -= high * 10_000
    written = np.empty((count, width, 3), dtype=np.uint32)
    written[..., 0] = _SIGNS.take(vectors < 0)
    written[..., 1] = _DIGITS.take(high)
    written[..., 2] = _DIGITS.take(whole)
    rows = written.view(np.uint8).reshape(count, 12 * width)
    rows[:, 0] = ord("[")
    return [row.tobytes() + b"]" for row in rows]


def as_base64(vectors: np.ndarray) -> list[bytes]:
    """Each row of `(N, D)` as a JSON text: base64 of little-endian float32.

    >>> as_base64(np.array([[0.5]], dtype=np.float32))
    [b'"AAAAPw=="']
    """
    return [b'"%b"' % pybase64.b64encode(row) for row in np.ascontiguousarray(vectors, dtype="<f4")]


async def write_rows(vectors: np.ndarray, write: Callable[[np.ndarray], list[bytes]]) -> list[bytes]:
    """The rows of `(N, D)` by one of the functions above, with the loop turning in between."""
    rows_a_piece = max(1, PIECE_NUMBERS // max(1, vectors.shape[1]))
    written = write(vectors[:rows_a_piece])
    for start in range(rows_a_piece, len(vectors), rows_a_piece):
        await asyncio.sleep(0)
        written += write(vectors[start : start + rows_a_piece])
    return written
