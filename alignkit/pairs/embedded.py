"""Sentences with the teacher's vectors, put through a student: its side of the pairs, made anew each time.

A student that is trained changes, so that nothing of it is read from, or written to, the vector cache.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from alignkit.embedders.base import Embedder, Role, RowsInOrder, context_of
from alignkit.errors import DataError
from alignkit.files import refused
from alignkit.pairs.base import MIN_PAIRS, Cut, Pairs, PairSplits
from alignkit.pairs.cached_sides import IN_MEMORY_BYTES
from alignkit.pairs.views import take_pairs
from alignkit.progress import Counted, progress

logger = logging.getLogger(__name__)

# embedded, then written, together
TEXTS_AT_ONCE = 16_384


@dataclass(frozen=True)
class _Embedded:
    """One split's texts by a student: vectors of the rows that have one, and why the others have none."""

    rows: np.ndarray
    vectors: np.ndarray
    reasons: dict[int, str]
    cut: int


def with_student(splits: PairSplits, student: Embedder, role: Role = "document") -> PairSplits:
    """The same pairs with this student's vectors, in the place of any that they had.

    Args:
        splits: with texts. Vectors of a split that is too large for memory are kept in a temporary file.
        student: embeds every text.
        role: whose prompt it uses.

    Returns:
        Sentences without a vector are left out, and counted in `origin`.

    Raises:
        DataError: if there are no texts, or too few have a vector.
        EmbedderError: if the student fails.
        AlignkitError: if the disk is full.
    """
    if any(part.texts is None for part in splits.parts):
        raise DataError("a student needs texts to embed, and these pairs have none; take data=cached or built")
    with progress("student", "texts") as counted:
        counted.begin(sum(map(len, splits.parts)))
        parts = [_embed(part.texts or (), student, role, counted) for part in splits.parts]
        corpus = None if splits.corpus is None else _corpus(splits.corpus, splits.parts, parts, student, role, counted)
    train, validation, test = (_put(pairs, found) for pairs, found in zip(splits.parts, parts, strict=True))
    reasons = [reason for found in parts for reason in found.reasons.values()]
    if len(train) < MIN_PAIRS:
        first = f" (the first without: {reasons[0]})" if reasons else ""
        raise DataError(f"{len(train)} training sentences with both vectors, expected at least {MIN_PAIRS}{first}")
    if reasons:
        logger.warning("%d sentences are left out: the student gave no vector (%s)", len(reasons), reasons[0])
    origin = replace(
        splits.origin,
        student_identity=student.identity(role),
        quarantined={**(splits.origin.quarantined or {}), "student": len(reasons)},
        cut={**(splits.origin.cut or {}), "student": Cut(sum(found.cut for found in parts), context_of(student))},
    )
    return replace(splits, train=train, validation=validation, test=test, origin=origin, corpus=corpus)


def _embed(texts: Sequence[str], student: Embedder, role: Role, counted: Counted) -> _Embedded:
    kept, reasons, cut, store = [np.empty(0, dtype=np.int64)], dict[int, str](), 0, _Store(len(texts), student.dim)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = [texts[row] for row in range(start, min(start + TEXTS_AT_ONCE, len(texts)))]
        rows = RowsInOrder(len(some), student.dim)
        for batch in student.embed(some, role):
            rows.put(batch)
            cut += len(batch.cut)
            counted.advance(len(batch.indices) + len(batch.failures))
        vectors, failures = rows.all()
        there = np.delete(np.arange(len(some)), list(failures))
        store.add(vectors[there])
        kept.append(start + there)
        reasons |= {start + place: reason for place, reason in failures.items()}
    return _Embedded(np.concatenate(kept), store.whole(), reasons, cut)


def _corpus(
    corpus: Pairs, parts: Sequence[Pairs], found: Sequence[_Embedded], student: Embedder, role: Role, counted: Counted
) -> Pairs:
    """Rows that the splits hold too are not embedded again."""
    known = {
        (parts[one].texts or ())[row]: (one, place)
        for one, embedded in enumerate(found)
        for place, row in enumerate(embedded.rows.tolist())
    }
    refused = {(part.texts or ())[row] for part, one in zip(parts, found, strict=True) for row in one.reasons}
    others = [text for text in dict.fromkeys(corpus.texts or ()) if text not in known and text not in refused]
    if others:
        counted.begin(len(others))
    more = _embed(others, student, role, counted)
    vectors = [*(one.vectors for one in found), more.vectors]
    known |= {others[row]: (len(found), place) for place, row in enumerate(more.rows.tolist())}
    rows = np.array([row for row, text in enumerate(corpus.texts or ()) if text in known], dtype=np.int64)
    own = [known[(corpus.texts or ())[row]] for row in rows]
    return replace(take_pairs(corpus, rows), student=np.array([vectors[one][place] for one, place in own]))


def _put(pairs: Pairs, found: _Embedded) -> Pairs:
    kept = pairs if not found.reasons else take_pairs(pairs, found.rows)
    return replace(kept, student=found.vectors)


class _Store:
    """Vectors of one split, added in order: in memory, or in a file that is gone when nobody maps it any more."""

    def __init__(self, count: int, dim: int) -> None:
        self._dim, self._parts = dim, list[np.ndarray]()
        self._file: IO[bytes] | None = None
        if count * dim * np.dtype(np.float32).itemsize > IN_MEMORY_BYTES:
            self._file = tempfile.TemporaryFile()

    def add(self, vectors: np.ndarray) -> None:
        if self._file is None:
            self._parts.append(vectors)
            return
        try:
            # written, never through the map: on a full disk a map ends the process
            self._file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
        except OSError as error:
            raise refused(Path(tempfile.gettempdir()), error) from None

    def whole(self) -> np.ndarray:
        if self._file is None:
            return np.concatenate([np.empty((0, self._dim), np.float32), *self._parts])
        with self._file as file:
            try:
                file.flush()
            except OSError as error:
                raise refused(Path(tempfile.gettempdir()), error) from None
            if not file.tell():  # nothing cannot be mapped
                return np.empty((0, self._dim), np.float32)
            return np.memmap(file, dtype=np.float32, mode="r").reshape(-1, self._dim)
