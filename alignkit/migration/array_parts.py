"""The new vectors of one file by several workers: each writes pieces of its own, which are put together at the end."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignkit.codes.kinds import Code
from alignkit.errors import DataError
from alignkit.files import write_whole
from alignkit.heads.base import Head
from alignkit.migration.new_rows import BLOCK_BYTES, align_rows
from alignkit.migration.planned_move import Move, array_header, check_room
from alignkit.migration.sources import Source, open_source
from alignkit.object_storage.located import asked, is_folder, write_object
from alignkit.workers.base import Do, Engine, Part, Result, Work
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run
from alignkit.workers.variables import OF_STORES, named_variables, take_over

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

# some hundred parts, so that the last worker is not waited for long; none so large that its loss hurts
PARTS, FEWEST_ROWS, MOST_BYTES = 256, 1024, 256 * 1024 * 1024


@dataclass
class AlignRows(Work):
    """Reads a range of rows, maps it, and writes it as an array of its own.

    Attributes:
        source: the old index.
        key: of the array or column in it.
        head: applied to each row.
        code: how the new vectors are stored.
        folder: of the pieces.
        variables: of the environment, with the keys of object storage.
    """

    source: Place
    key: str | None
    head: Head = field(repr=False)
    code: Code = field(repr=False)
    folder: Place
    variables: dict[str, str] = field(repr=False)
    name = "migrate"
    unit = "rows"

    def open(self) -> Do:
        """See `Work`."""
        take_over(self.variables)
        source = open_source(self.source, self.key)
        return lambda part: self._do(source, part)

    def output(self, part: Part) -> Place:
        """See `Work`."""
        return self.folder / f"{part.number:06}.npy"

    def _do(self, source: Source, part: Part) -> Result:
        move = Move(source, self.head, Path(), self.code, {})
        made = np.empty((part.settings["rows"], self.code.width), self.code.dtype)
        done = zero_rows = 0
        for block in _blocks(source, part, max(1, BLOCK_BYTES // (4 * max(source.dim, self.head.teacher_dim)))):
            aligned, zeros = align_rows(move, block, part.settings["first"] + done)
            made[done : done + len(block)] = self.code.encode(aligned)
            done, zero_rows = done + len(block), zero_rows + zeros
        if done != len(made):
            raise DataError(f"{source.path}: row {part.settings['first'] + done} is missing; is it being written to?")
        buffer = io.BytesIO()
        np.save(buffer, made)
        write_object(self.output(part), buffer.getvalue())
        return {"zero_rows": zero_rows}


def fill_by_parts(move: Move, out: Place, engine: Engine, on_progress: Callable[[Progress], None]) -> int:
    """Write `move.part` with all new vectors; returns how many rows are zero.

    Args:
        move: that is planned, with its codes' ranges.
        out: where the new index shall lie: the pieces lie beside it, where all workers reach them.
        engine: of the workers.
        on_progress: called whenever a part is done.

    Raises:
        ConfigError: if parts of another move are there, or too little room.
        AlignkitError: if parts fail; the others stay, and the next call goes on.
    """
    folder, pieces = parts_folder(move), out.with_name(f"{out.name}.parts")
    if not folder.exists():
        check_room(move, 0, copies=2)
    # what the ranges of codes belong to
    write_whole(move.state, json.dumps({"ticket": move.ticket, "rows": 0, "zero_rows": 0}))
    manifest = Manifest.open(folder, move.ticket, lambda: _cut(move))
    places = from_anywhere(move.source.path), from_anywhere(pieces)
    keys = named_variables({}, *OF_STORES)
    work = AlignRows(places[0], move.source.key, move.head, move.code, places[1], keys)
    outcome = run(work, manifest, engine, on_progress)
    outcome.expect_whole(manifest.parts)
    with move.part.open("wb") as file:
        file.write(array_header(move))
        for part in manifest.parts:
            made = _read(work.output(part))
            expected = (part.settings["rows"], move.code.width)
            if made.shape != expected or made.dtype != move.code.dtype:
                raise DataError(
                    f"{work.output(part)}: holds {made.dtype.name} numbers of shape {made.shape}, expected "
                    f"{move.code.dtype.name} of {expected}; delete it and run the same command again"
                )
            file.write(np.ascontiguousarray(made).data)
            del made
    return sum(result["zero_rows"] for result in outcome.done.values())


def parts_folder(move: Move) -> Path:
    """The folder of a move's manifest, and of its pieces unless the output lies in object storage."""
    return move.out.with_name(move.out.name + ".parts")


def forget_parts(move: Move, out: Place) -> None:
    """Delete the pieces, once they are put together or found to be wrong."""
    shutil.rmtree(parts_folder(move), ignore_errors=True)
    pieces = out.with_name(f"{out.name}.parts")
    if not isinstance(pieces, Path) and is_folder(pieces):
        with asked(pieces):
            pieces.fs.rm(pieces.path, recursive=True)


def from_anywhere(place: Place) -> Place:
    """A worker has another working folder."""
    return place.absolute() if isinstance(place, Path) else place


def _read(place: Place) -> np.ndarray:
    if isinstance(place, Path):
        mapped: np.ndarray = np.load(place, mmap_mode="r", allow_pickle=False)
        return mapped
    with asked(place):
        content = place.fs.cat_file(place.path)
    read: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return read


def _blocks(source: Source, part: Part, rows: int) -> Iterator[np.ndarray]:
    left = part.settings["rows"]
    for block in source.blocks(part.settings["first"], min(rows, left)):
        yield block[:left]
        left -= len(block)
        if left <= 0:
            return


def _cut(move: Move) -> Iterator[Part]:
    most = max(FEWEST_ROWS, MOST_BYTES // move.width_bytes)
    rows = min(most, max(FEWEST_ROWS, move.source.rows // PARTS))
    for number, first in enumerate(range(0, move.source.rows, rows)):
        count = min(rows, move.source.rows - first)
        yield Part(number, {"first": first, "rows": count}, count)
