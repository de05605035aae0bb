"""Equal rows of vectors, found without their sentences and without a copy of the vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from alignkit.corpus_blocks import only_read
from alignkit.vector_files import MappedRows

_BLOCK_ELEMENTS = 1024 * 1024
# attribute of a map: the fingerprints of its rows
_REMEMBERED = "alignkit_fingerprints"
# a side with fewer distinct vectors than this share of the rows distinguishes classes, not sentences
FEWEST_DISTINCT = 0.1


def vector_fingerprints(vectors: np.ndarray) -> np.ndarray:
    """8 bytes a vector, the same whether it is stored as float16, float32 or float64.

    Rows are read in blocks. Their float16 bits are summed up with random weights modulo 2^64, so that two different
    rows have one fingerprint with a chance of 2^-48 at the most.

    Args:
        vectors: `(N, D)`, an array or a memory map.

    Returns:
        `(N,)` uint64.

    Source: Dietzfelbinger, Universal hashing and k-wise independent random variables, STACS 1996 (multilinear hashing).

    >>> one = np.array([[0.1, -0.2], [0.3, 0.4]], dtype=np.float32)
    >>> bool((vector_fingerprints(one) == vector_fingerprints(one.astype(np.float16))).all())
    True
    """
    found = np.empty(len(vectors), dtype=np.uint64)
    for start, fingerprints in fingerprint_blocks(vectors):
        found[start : start + len(fingerprints)] = fingerprints
    return found


def fingerprint_blocks(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The same a block at a time: the first row of each, and its fingerprints."""
    count, width = vectors.shape
    known = getattr(vectors.array if isinstance(vectors, MappedRows) else vectors, _REMEMBERED, None)
    if known is not None:
        rows = vectors.rows if isinstance(vectors, MappedRows) else np.arange(count)
        yield from ((at, known[rows[at : at + _BLOCK_ELEMENTS]]) for at in range(0, count, _BLOCK_ELEMENTS))
        return
    drawn = np.frombuffer(hashlib.shake_128(b"alignkit").digest(8 * width), dtype="<u8").astype(np.uint64) | 1
    weights = torch.from_numpy(drawn.view(np.int64))
    step = max(1, _BLOCK_ELEMENTS // width)
    for start in range(0, count, step):
        bits = _float16_bits(only_read(vectors[start : start + step]))
        # sums of 64-bit integers wrap around, signed ones too
        yield start, bits.mul_(weights).sum(dim=1).numpy().view(np.uint64)


def remembered_fingerprints(vectors: np.ndarray) -> np.ndarray:
    """As `vector_fingerprints`; those of a mapped file are kept with its map, so that it is not read for them again."""
    found = vector_fingerprints(vectors)
    if isinstance(vectors, np.memmap) and vectors.mode == "r":  # nobody may write to it
        setattr(vectors, _REMEMBERED, found)  # which parts of the map do not inherit
    return found


def _float16_bits(rows: torch.Tensor) -> torch.Tensor:
    """`(M, D)` int64 in [0, 65,535]: the bits of every number as float16, the same whatever type it is stored in."""
    rows = rows.float() if rows.dtype == torch.float64 else rows
    peak = torch.maximum(rows.amax(dim=1), -rows.amin(dim=1)).float()
    # float16 holds what models give; a file in another scale is brought there by a power of two, which is exact
    usual = (peak > 2.0**-8) & (peak < 2.0**15)
    if not usual.all():
        exponents = torch.frexp(peak).exponent.masked_fill(usual, 0)
        rows = torch.ldexp(rows.float(), -exponents.unsqueeze(1))
    # added to zero, minus zero is zero
    return (rows.half() + 0.0).view(torch.uint16).to(torch.int64)


def among(few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Which of some fingerprints `(F,)` are among many others `(M,)`, which are not sorted: bool `(F,)`."""
    known = np.unique(few)
    found = np.zeros(len(known), dtype=bool)
    for start in range(0, len(many), _BLOCK_ELEMENTS):
        block = np.asarray(many[start : start + _BLOCK_ELEMENTS])
        found[np.searchsorted(known, block[are_among_sorted(block, known)])] = True
    return found[np.searchsorted(known, few)]


def are_among_sorted(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of the values `(N,)` are among `known` `(K,)`, ascending: bool `(N,)`, and little else in memory."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    return known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values


def first_equal_rows(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Find the rows that are one sentence: those whose student or whose teacher vectors are equal.

    Equal teacher vectors count too: a teacher that ignores case gives "Hello" and "hello" one vector. A side with
    hardly any distinct vectors (one for each class) cannot distinguish sentences and is ignored; where both are such,
    rows are one sentence if both vectors are equal.

    Args:
        student: `(N, student_dim)`, an array or a memory map.
        teacher: `(N, teacher_dim)`, likewise.

    Returns:
        `(N,)` int64, the first row of the same sentence; its own number for a row without an equal one.

    >>> first_equal_rows(np.array([[1.0], [2.0], [1.0], [3.0]]), np.array([[1.0], [2.0], [4.0], [4.0]])).tolist()
    [0, 1, 0, 0]
    """
    # those of students are asked for again: by the leak check, and for the run
    by_side = [_first_rows(remembered_fingerprints(student)), _first_rows(vector_fingerprints(teacher))]
    rows = np.arange(len(student))
    telling = [first for first in by_side if (first == rows).sum() >= FEWEST_DISTINCT * len(rows)]
    if len(telling) == 2:
        return join_equal_rows(*telling)
    return telling[0] if telling else _first_rows(by_side[0] * len(rows) + by_side[1])


def join_equal_rows(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows that are equal by one or by the other account, each `(N,)` as `first_equal_rows` returns it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.arange(len(first))
    if np.array_equal(other, rows):
        return first
    ends = [one[one != rows] for one in (first, other)], [rows[one != rows] for one in (first, other)]
    edges = tuple(np.concatenate(end) for end in ends)
    named, place = np.unique(np.concatenate(edges), return_inverse=True)
    graph = coo_array((np.ones(len(edges[0]), np.int8), tuple(np.split(place, 2))), shape=(len(named), len(named)))
    joined = rows.copy()
    joined[named] = named[_first_rows(connected_components(graph, directed=False)[1])]
    return joined


def _first_rows(names: np.ndarray) -> np.ndarray:
    """For each row the first one of the same name; most names are expected to stand once."""
    ordered = np.sort(names)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    rows = np.arange(len(names))
    if len(repeated):
        here = np.flatnonzero(are_among_sorted(names, repeated))
        _, first, group = np.unique(names[here], return_index=True, return_inverse=True)
        rows[here] = here[first[group]]
    return rows
