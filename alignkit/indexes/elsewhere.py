"""New vectors in an index of their own, in another engine: every row is moved there whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows, Stretch, picked
from alignkit.indexes.new_index import NewIndex, version_of
from alignkit.indexes.replacement import Note, Replacement
from alignkit.indexes.replacing import expect_all, expect_width, usable_rows
from alignkit.indexes.stages import Stage

_LIKE = 1_000


class Elsewhere(Replacement[VectorIndex]):
    """Rows are moved with ids, texts and payload into a new index, which keeps a version of each until `drop_old`.

    The old index is never changed. Whatever happens to it meanwhile is noticed: `missing` reads it whole and gives
    the rows that are new, or whose vector, text or payload is another than the one that was moved, and `surplus` counts
    those that were deleted. That takes 16 bytes of memory a row. Rows that applications write into the new index before
    `drop_old` are undone by the next `prune`, so let them write to the old one until then.

    `cut_over` and `roll_back` record what is in use, and let the engine do what it can; which index it reads is the
    application's choice.

    Args:
        index: the old one, with text and payload as they shall be moved.
        new: the other one.
    """

    elsewhere = True

    def __init__(self, index: VectorIndex, new: NewIndex) -> None:
        self.index, self.new = index, new
        self._place = index.describe().place  # which may count rows, so once
        self._seen: np.ndarray | None = None

    def way(self, dim: int) -> str:
        """See `Replacement`."""
        return (
            f"ids, texts and payload are moved to {self.new.place}, with the new vectors; {self.new.way(dim)}; the old "
            "index stays as it is, and rows that are added, changed or deleted meanwhile are caught up by reading it "
            "once more, until cut_over"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        if (state := self._state()) is None:
            return "untouched"
        return "cut over" if state["in_use"] else "begun"

    def _begin(self, dim: int) -> None:
        if self._state() is not None:
            expect_width(self.new.dim(), dim)
            return
        metric, like = self.index.describe().metric, next(self.index.scan(batch=_LIKE), None)
        if like is None:
            raise DataError(f"{self._place}: holds no rows")
        _expect_ids(like.ids)
        self._expect_free_names(like)
        state = {"from": self._place, "in_use": False, "kept": None}
        self.new.begin(dim, metric or "cosine", state, like)

    @property
    def written_together(self) -> bool:
        """See `Replacement`."""
        return self.new.written_together

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`; refused at the end if two rows have one id, but for a stretch, which is given whole."""
        if within is not None:
            for rows in self.index.within(within, batch):
                yield replace(rows, versions=version_of(rows))
            return
        known, seen = _Known(self.new.versions()), []
        for rows in self.index.scan(batch=batch):
            versions, ids = version_of(rows), _hashed(rows.ids)
            seen.append(ids)
            if wanted := known.others(ids, versions):
                yield replace(picked(rows, wanted), versions=[versions[row] for row in wanted])
        self._seen = np.sort(np.concatenate(seen)) if seen else np.empty(0, np.uint64)
        if twice := int((self._seen[1:] == self._seen[:-1]).sum()):
            raise DataError(
                f"{self._place}: {twice:,} ids stand twice, so rows could not be told apart; give every row its own"
            )

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`; rows without a usable vector are moved without one, where the engine can."""
        if self.stage() != "begun":
            raise DataError("cannot write: no replacement has begun, or it is in use")
        _expect_ids(rows.ids)
        self._expect_free_names(rows)
        dim = self.new.dim()
        kept, made = usable_rows(rows, vectors, dim)
        whole = np.full((len(rows), dim), np.nan, np.float32)
        whole[kept] = made
        if len(rows):
            self.new.put(rows, whole, rows.versions or version_of(rows))
        return len(kept)

    def surplus(self) -> int:
        """See `Replacement`."""
        return sum(len(ids) for ids in self._surplus())

    def prune(self) -> int:
        """See `Replacement`."""
        found = [one for ids in self._surplus() for one in ids]
        for start in range(0, len(found), _LIKE):
            self.new.remove(found[start : start + _LIKE])
        return len(found)

    def build_index(self) -> str:
        """See `Replacement`."""
        if self._state() is None:
            raise DataError("cannot build an index: no replacement has begun")
        return self.new.build_index()

    def _cut_over(self, force: bool) -> None:
        expect_all(sum(len(rows) - len(rows.faults) for rows in self.missing()), force)
        if (surplus := self.surplus()) and not force:
            raise DataError(
                f"{surplus:,} rows of {self.new.place} are no longer in the old index; delete them with step=copy, or "
                "cut over with force=true"
            )
        self.new.cut_over()
        self._record(in_use=True)

    def _roll_back(self) -> None:
        self.new.roll_back()
        self._record(in_use=False)

    def _drop_old(self) -> None:
        """The old index is another application's to delete."""
        self.new.finish()

    def _give_up(self) -> None:
        if self._state() is not None:
            self.new.give_up()

    def _other(self, stage: Stage) -> VectorIndex:
        return self.new.opened()

    def _read_note(self, stage: Stage) -> Note | None:
        return (self._state() or {}).get("kept")

    def _keep_note(self, note: Note, stage: Stage) -> None:
        self._record(kept=note)

    def _record(self, **changes: object) -> None:
        self.new.keep_note({**(self._state() or {}), **changes})

    def _state(self) -> Note | None:
        """What the new index keeps.

        Raises:
            DataError: if it was begun from another index.
        """
        state = self.new.note()
        if state is not None and state.get("from") != self._place:
            raise DataError(
                f"{self.new.place}: a migration of another index has begun there ({state.get('from')}; this is "
                f"{self._place}); go on with that one, or give another name"
            )
        return state

    def _expect_free_names(self, rows: IndexRows) -> None:
        fields = dict.fromkeys(name for payload in rows.payload for name in payload)
        if taken := [name for name in fields if name in self.new.own_fields]:
            raise DataError(
                f"{self.new.place}: field '{taken[0]}' of the payload has the name that ids, texts or vectors have "
                "there; give these another name (target.id=…, target.text=…, target.vector=…)"
            )

    def _surplus(self) -> Iterator[list[Id]]:
        while (seen := self._seen) is None:
            for _ in self.missing():
                pass
        for ids, _ in self.new.versions():
            there = _found(seen, _hashed(ids))[1]
            if not there.all():
                yield [ids[row] for row in np.flatnonzero(~there)]


class _Known:
    """Which version of which row was moved, in 16 bytes a row."""

    def __init__(self, parts: Iterator[tuple[list[Id], list[str]]]) -> None:
        ids, versions = np.empty(0, np.uint64), np.empty(0, np.uint64)
        if pairs := [(_hashed(some), _hashed(theirs)) for some, theirs in parts]:
            ids, versions = (np.concatenate(side) for side in zip(*pairs, strict=True))
        order = np.argsort(ids, kind="stable")
        self.ids, self.versions = ids[order], versions[order]

    def others(self, ids: np.ndarray, versions: Sequence[str]) -> list[int]:
        """Positions of the rows that were not moved, or in another version."""
        places, there = _found(self.ids, ids)
        same = there.copy()
        same[there] = self.versions[places[there]] == _hashed(versions)[there]
        return np.flatnonzero(~same).tolist()


def _found(ids: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each asked one would stand among sorted ones, and whether it does."""
    places = np.searchsorted(ids, asked)
    there = np.zeros(len(asked), bool)
    inside = places < len(ids)
    there[inside] = ids[places[inside]] == asked[inside]
    return places, there


def _hashed(values: Sequence[object]) -> np.ndarray:
    """64 bits of each value's text."""
    digests = b"".join(hashlib.blake2b(str(one).encode(), digest_size=8).digest() for one in values)
    return np.frombuffer(digests, np.uint64)


def _expect_ids(ids: Sequence[Id]) -> None:
    if None in ids:
        raise DataError("a row has no id, so it could not be found again; give every row one")
    if len({str(one) for one in ids}) < len(ids):
        twice = Counter(str(one) for one in ids).most_common(1)[0][0]
        raise DataError(f"two rows have the id {twice}, so they could not be told apart; give every row its own")
