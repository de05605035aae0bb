"""Turns old vectors into new ones: aligns them, samples them for the codes' ranges, and verifies them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from alignkit.agreement import Tolerance, compare
from alignkit.codes.kinds import leading, ranges_of
from alignkit.errors import DataError
from alignkit.migration.planned_move import Move
from alignkit.vectors import cosine, l2_normalize

# size of the vectors that are read at once
BLOCK_BYTES = 32 * 1024 * 1024
VERIFIED_ROWS = 1000
# rows from which the ranges of int8 codes are found
CALIBRATION_ROWS = 10_000
# they allow for alignment in float32, numbers below 1 rounded to float16, one step of int8 (a range is at most 2), and
# a bit that flips because a number near zero was rounded differently
_TOLERANCES = {
    "float32": Tolerance(1e-5),
    "float16": Tolerance(1e-3, 0.9999),
    "int8": Tolerance(2.01 / 255, 0.999),
    "binary": Tolerance(2.0, 0.99),
}


def align_rows(move: Move, block: np.ndarray, first_row: int) -> tuple[np.ndarray, int]:
    """New vectors of one block, `(n, teacher_dim)` float32, and how many of the old ones were zero.

    Raises:
        DataError: if a row holds NaN or Inf.
    """
    student = torch.from_numpy(np.array(block, dtype=np.float32))
    mass = student.abs().sum(dim=1, dtype=torch.float64)
    if not bool(torch.isfinite(mass).all()):
        row = first_row + int(torch.nonzero(~torch.isfinite(mass))[0])
        raise DataError(f"{move.source.path}: row {row} holds NaN or Inf; embed that document again or drop it")
    with torch.inference_mode():
        aligned = l2_normalize(move.head(student).float())
        zeros = mass == 0
        count = int(zeros.sum())
        if count:
            aligned[zeros] = 0
    return aligned.numpy(), count


def find_ranges(move: Move) -> np.ndarray:
    """The ranges of int8 codes, from an evenly spaced sample of the new vectors: `(2, dims)` float32."""
    return ranges_of((align_rows(move, block, 0)[0] for block in _spread(move, CALIBRATION_ROWS)), move.code.dims)


def _spread(move: Move, most: int) -> Iterator[np.ndarray]:
    """At most `most` old vectors, evenly spaced over the index, block by block."""
    step, row = max(1, -(-move.source.rows // most)), 0
    for block in move.source.blocks(0, max(step, BLOCK_BYTES // (4 * move.source.dim))):
        yield np.array(block[-row % step :: step])
        row += len(block)


def verify(move: Move) -> dict[str, Any]:
    """Read back evenly spaced rows and compare them with a second alignment."""
    made = np.load(move.part, mmap_mode="r", allow_pickle=False)
    aligned, _ = align_rows(move, np.concatenate(list(_spread(move, VERIFIED_ROWS))), 0)
    got = move.code.decode(np.array(made[:: max(1, -(-move.source.rows // VERIFIED_ROWS))]))
    del made
    kept = np.abs(aligned).sum(axis=1) > 0
    if not kept.any():
        return {"rows": 0}
    expected = move.code.decode(move.code.encode(aligned))
    result = compare(expected[kept], got[kept], _TOLERANCES[move.code.name])
    whole = torch.from_numpy(leading(aligned[kept], move.code.dims))
    left = cosine(whole, torch.from_numpy(got[kept])).mean()
    return {"rows": int(kept.sum()), **result, "mean_cosine_of_code": round(float(left), 6)}
