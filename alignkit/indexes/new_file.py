"""A new index that is a file: its rows are gathered beside it, and written whole by `build_index`."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from alignkit.errors import DataError
from alignkit.files import move, refused, unfinished_name
from alignkit.indexes.base import Metric
from alignkit.indexes.gathered_rows import GatheredRows
from alignkit.indexes.index_rows import Id, IndexRows
from alignkit.indexes.new_index import NewIndex, taken
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import NEW


class NewFile(NewIndex):
    """Built beside its name, which it gets at `cut_over` by one renaming a file.

    Rows are gathered in a file of SQLite in the same folder, which takes as much room as the index, and goes with
    `finish`.

    Args:
        path: of the finished file.
        beside: further files that are built with it.
    """

    def __init__(self, path: Path, *beside: Path) -> None:
        self.place, self.files = str(path), (*beside, path)
        self.gathered = GatheredRows(path.with_name(f"{path.stem}{NEW}.gathered"))

    @abc.abstractmethod
    def build(self, dim: int, metric: Metric, *files: Path) -> str:
        """Write the gathered rows into files of these names, in the order of `self.files`; returns what was built."""

    @property
    def written_together(self) -> bool:
        """See `NewIndex`."""
        return True

    def note(self) -> Note | None:
        """See `NewIndex`."""
        about = self.gathered.about()
        if about is None:
            if there := next((path for path in self.files if path.exists()), None):
                raise taken(str(there))
            return None
        return about["note"]

    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        self.gathered.set(note=note)

    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`."""
        folder = self.gathered.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(folder, error) from None
        self.gathered.create({"note": note, "dim": dim, "metric": metric, "built": False})

    def dim(self) -> int:
        """See `NewIndex`."""
        return int((self.gathered.about() or {})["dim"])

    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`; ids are texts."""
        return self.gathered.versions(batch)

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`."""
        self.gathered.put(rows, vectors, versions)

    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        self.gathered.remove(ids)

    def build_index(self) -> str:
        """See `NewIndex`."""
        about = self.gathered.about() or {}
        if about["built"]:
            return "is built already"
        if not self.gathered.count():
            raise DataError(f"{self.place}: no rows to build it from")
        unfinished = [unfinished_name(path.parent) for path in self.files]
        try:
            built = self.build(about["dim"], about["metric"], *unfinished)
            for made, path in zip(unfinished, self._new(), strict=True):
                move(made, path)
        except OSError as error:
            raise refused(self.files[-1], error) from None
        finally:
            for made in unfinished:
                made.unlink(missing_ok=True)
        self.gathered.set(built=True)
        return built

    def current(self) -> tuple[Path, ...]:
        """The files under the names that they have now.

        Raises:
            DataError: if they are not built yet.
        """
        paths = self._new() if self._new()[-1].exists() else self.files
        if not paths[-1].exists():
            raise DataError(f"{self.place}: is not built yet; build_index writes it")
        return paths

    def cut_over(self) -> None:
        """See `NewIndex`."""
        if not (self.gathered.about() or {}).get("built"):
            raise DataError(f"cannot cut over: {self.place} is not built yet; build_index writes it")
        self._rename(self._new(), self.files)

    def roll_back(self) -> None:
        """See `NewIndex`."""
        self._rename(self.files, self._new())

    def finish(self) -> None:
        """See `NewIndex`."""
        self.gathered.delete()

    def give_up(self) -> None:
        """See `NewIndex`."""
        for path in self._new():
            path.unlink(missing_ok=True)
        self.gathered.delete()

    def _new(self) -> tuple[Path, ...]:
        return tuple(path.with_name(f"{path.stem}{NEW}{path.suffix}") for path in self.files)

    def _rename(self, paths: tuple[Path, ...], names: tuple[Path, ...]) -> None:
        """Whatever an interrupted renaming left is renamed too."""
        waiting = [(path, name) for path, name in zip(paths, names, strict=True) if path.exists()]
        if there := next((name for _, name in waiting if name.exists()), None):
            raise taken(str(there))
        try:
            for path, name in waiting:
                move(path, name)
        except OSError as error:
            raise refused(names[-1], error) from None
