"""New vectors for an index that is a file: gathered beside it, built into a new file, which takes its place."""

from __future__ import annotations

import abc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.files import appearing, move, refused, write_whole
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows, Stretch
from alignkit.indexes.replacement import Note, Replacement
from alignkit.indexes.replacing import (
    NEW,
    OLD,
    expect_all,
    expect_width,
    note_of,
    usable_rows,
)
from alignkit.indexes.stages import Stage


class FileReplacement(Replacement[VectorIndex]):
    """A new file beside the old one, of the same rows in the same order.

    The file must not change meanwhile, which every step checks. Vectors are gathered in a folder beside it, each batch
    on the disk before it counts as done, so that a crash of the machine harms none. `cut_over` and `roll_back` are one
    renaming each: whoever opens the file finds the old one or the new one, whole.

    Args:
        index: over the file; it is closed while the file is replaced, and opened again.
        path: of the file.
        reopen: opens it again.
        opened: another file of the same rows as an index.
    """

    def __init__(
        self, index: VectorIndex, path: Path, reopen: Callable[[], None], opened: Callable[[str], VectorIndex]
    ) -> None:
        self.index, self.path, self._reopen, self._opened = index, path, reopen, opened
        self._note = path.with_name(f"{path.stem}{NEW}.json")
        self.new, self.old = (path.with_name(f"{path.stem}{suffix}{path.suffix}") for suffix in (NEW, OLD))
        self.folder = path.with_name(f"{path.stem}{NEW}.parts")

    @abc.abstractmethod
    def build(self, vectors: np.ndarray, done: np.ndarray, out: Path) -> str:
        """Write the new file.

        Args:
            vectors: `(N, dim)` float32, mapped; NaN in rows that have none.
            done: `(N,)` whether a row was written.
            out: of the new file, which appears when it is whole.

        Returns:
            What was built, in a few words.
        """

    @abc.abstractmethod
    def position(self, rows: IndexRows) -> int:
        """The position in the file of the first of these rows, as `scan` gave them."""

    @abc.abstractmethod
    def repeated(self) -> int:
        """How many rows have the id of an earlier one."""

    def way(self, dim: int) -> str:
        """See `Replacement`."""
        return (
            "a new file is written beside the old one, which must not change meanwhile; cut_over and roll_back "
            "rename the new file to its name, and back"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        if self._aside().exists() and not self.old.exists():  # a roll back was interrupted after its renaming
            move(self._aside(), self.new)
        if self.old.exists() and not self.new.exists():
            return "cut over"
        return "begun" if self.new.exists() or self.folder.exists() else "untouched"

    def _begin(self, dim: int) -> None:
        """See `Replacement`; takes the room of the new vectors on the disk."""
        if self.new.exists() and not self.folder.exists():
            return
        if begun := self._state():
            expect_width(begun["dim"], dim)
            return
        rows = self.index.describe().rows
        if twice := self.repeated():
            raise DataError(
                f"{self.path}: {twice:,} rows have the id of another, so that no search could tell them apart; give "
                "every row its own, or leave the ids out: then rows are counted"
            )
        try:
            self.folder.mkdir(exist_ok=True)
            for path, size in ((self._vectors, rows * dim * 4), (self._done, rows)):
                with path.open("wb") as file:
                    file.truncate(size)
        except OSError as error:
            raise refused(self.folder, error) from None
        write_whole(self.folder / "state.json", json.dumps({"dim": dim, "rows": rows, "index": self._ticket()}))

    @property
    def written_together(self) -> bool:
        """See `Replacement`."""
        return True

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`; a batch is given whole if any of its rows is missing."""
        if not self.folder.exists():
            return
        done = np.fromfile(self._done, np.uint8)
        for rows in self.index.within(within, batch):
            first = self.position(rows)
            if not done[first : first + len(rows)].all():
                yield rows

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`; the rows must be those of one batch of `missing` or `scan`."""
        state = self._going()
        kept, whole = usable_rows(rows, vectors, state["dim"])
        if len(kept) < len(rows):
            made, whole = whole, np.full((len(rows), state["dim"]), np.nan, np.float32)
            whole[kept] = made
        first = self.position(rows)
        try:
            _written_at(self._vectors, first * state["dim"] * 4, whole, durable=True)
            # that these are done may be lost in a crash: then they are written again
            _written_at(self._done, first, np.ones(len(rows), np.uint8), durable=False)
        except OSError as error:
            raise refused(self.folder, error) from None
        return len(kept)

    def build_index(self) -> str:
        """See `Replacement`; writes the new file."""
        if self.new.exists() and not self.folder.exists():
            return "is built already"
        state = self._going()
        vectors = np.memmap(self._vectors, np.float32, "r", shape=(state["rows"], state["dim"]))
        try:
            with appearing(self.new) as unfinished:
                return self.build(vectors, np.fromfile(self._done, np.uint8) > 0, unfinished)
        except OSError as error:
            raise refused(self.new, error) from None
        finally:
            del vectors

    def _cut_over(self, force: bool) -> None:
        """See `Replacement`."""
        if self.folder.exists():
            self._going()
            expect_all(int((np.fromfile(self._done, np.uint8) == 0).sum()), force)
        if not self.new.exists():
            raise DataError("cannot cut over: the new file is not built yet; build_index writes it")
        self._swap((_copied, self.path, self.old), (move, self.new, self.path))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _roll_back(self) -> None:
        """See `Replacement`."""
        aside = self._aside()
        self._swap((_copied, self.path, aside), (move, self.old, self.path), (move, aside, self.new))

    def _drop_old(self) -> None:
        """See `Replacement`."""
        self.old.unlink()
        self._note.unlink(missing_ok=True)

    def _give_up(self) -> None:
        """See `Replacement`."""
        self.new.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _other(self, stage: Stage) -> VectorIndex:
        """See `Replacement`."""
        if stage == "begun" and not self.new.exists():
            raise DataError("cannot read the new vectors: the new file is not built yet; build_index writes it")
        return self._opened(str(self.old if stage == "cut over" else self.new))

    def _read_note(self, stage: Stage) -> Note | None:
        """See `Replacement`."""
        if not self._note.is_file():
            return None
        return note_of(self._note.read_text(encoding="utf-8"))

    def _keep_note(self, note: Note, stage: Stage) -> None:
        """See `Replacement`."""
        write_whole(self._note, json.dumps(note))

    @property
    def _vectors(self) -> Path:
        return self.folder / "vectors.f32"

    @property
    def _done(self) -> Path:
        return self.folder / "done.u8"

    def _aside(self) -> Path:
        return self.new.with_name(self.new.name + ".aside")

    def _swap(self, *steps: tuple[Callable[[Path, Path], None], Path, Path]) -> None:
        self.index.close()  # Windows replaces no file that is mapped
        try:
            for step, path, other in steps:
                step(path, other)
        except OSError as error:
            raise refused(self.path, error) from None
        finally:
            self._reopen()

    def _going(self) -> dict[str, Any]:
        state = self._state()
        if state is None:
            raise DataError(f"{self.path}: no replacement has begun, or its new file is built and in use")
        if state["index"] != self._ticket():
            raise DataError(
                f"{self.path}: the file has changed since its replacement began; give it up and begin again"
            )
        return state

    def _state(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _ticket(self) -> list[int]:
        found = self.path.stat()
        return [found.st_size, found.st_mtime_ns]


def _written_at(path: Path, offset: int, content: np.ndarray, *, durable: bool) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.ascontiguousarray(content).data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _copied(path: Path, beside: Path) -> None:
    """A second name of a file, or a copy where the disk knows no such names."""
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:
        with appearing(beside) as unfinished:
            shutil.copy2(path, unfinished)
