"""A folder of files moved into another one, file by file, by several workers; names and folders within are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from alignkit.artifact import Artifact
from alignkit.credentials import redacted
from alignkit.embedders.base import Role
from alignkit.errors import ConfigError, DataError
from alignkit.files import move as rename
from alignkit.migration.array_parts import from_anywhere
from alignkit.migration.moving import migrate
from alignkit.migration.planned_move import plan
from alignkit.migration.sending import MANIFEST_BYTES, made_at
from alignkit.migration.sources import PARQUET, open_source
from alignkit.object_storage.located import is_folder, is_there, located, names_within, read_range, write_object
from alignkit.workers.base import Do, Engine, Part, Result, Work
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run
from alignkit.workers.variables import OF_STORES, named_variables, take_over

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

SUFFIXES = (PARQUET, ".npy")
_FOLDER_OF_INT8 = "int8"


@dataclass
class MoveFiles(Work):
    """Moves one file: beside its place at first, so that what is in the folder is whole.

    Attributes:
        vectors: the folder.
        artifact: the head.
        out: the new folder.
        settings: of `migrate`.
        variables: of the environment, with the keys of object storage.
    """

    vectors: Place
    artifact: Artifact = field(repr=False)
    out: Place
    settings: dict[str, Any]
    variables: dict[str, str] = field(repr=False)
    name = "migrate"
    unit = "rows"

    def open(self) -> Do:
        """See `Work`."""
        take_over(self.variables)
        return self._do

    def output(self, part: Part) -> Place:
        """See `Work`."""
        return self.out / part.settings["file"]

    def _do(self, part: Part) -> Result:
        finished, vectors = self.output(part), self.vectors / part.settings["file"]
        if isinstance(self.out, Path) and isinstance(finished, Path):
            unfinished = self.out.with_name(f"{self.out.name}.parts") / "files" / part.settings["file"]
            made = migrate(vectors, self.artifact, unfinished, **self.settings)
            finished.parent.mkdir(parents=True, exist_ok=True)
            rename(unfinished, finished)
            unfinished.with_name(f"{unfinished.name}.json").unlink(missing_ok=True)
        else:
            with TemporaryDirectory() as folder:
                made = migrate(vectors, self.artifact, here := Path(folder) / finished.name, **self.settings)
                write_object(finished, here)
        return {name: made[name] for name in ("rows", "zero_rows", "dim", "dtype", "verification")}


def migrate_folder(
    vectors: str | Place,
    artifact: Artifact,
    out: str | Place,
    key: str | None,
    dtype: str | None,
    role: Role,
    codes: str | None,
    engine: Engine,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Move every `.parquet` and `.npy` of a folder, as `migrate` moves one; called again, it goes on.

    Files and folders whose names begin with `_` or `.` are left out, as readers of data sets do.

    Returns:
        The manifest that is written beside `out`: what was moved, rows and zero rows, and what reading back showed.

    Raises:
        ConfigError: if `out` holds something else, or an argument is wrong.
        DataError: if the folder holds no such files, or their width differs from the head's student.
        AlignkitError: if files fail; the others are moved.
    """
    source, place = from_anywhere(located(vectors)), from_anywhere(located(out))
    if codes is not None and codes.split(",")[0] == _FOLDER_OF_INT8:
        raise ConfigError(f"codes={codes}: each file of a folder would get ranges of its own; move a single file")
    names = _files_in(source)
    first = plan(open_source(source / names[0], key), artifact, Path(names[0]), dtype, role, codes)
    ticket = {**first.ticket, "vectors": redacted(str(source))}
    made_here, done = made_at(place), place.with_name(f"{place.name}.json")
    folder = made_here.with_name(f"{made_here.name}.parts")
    if not folder.exists() and (is_there(done) or is_folder(place)):
        return _finished_before(place, done, ticket)
    manifest = Manifest.open(folder, ticket, lambda: _cut(source, names, key))
    settings = {"key": key, "dtype": first.ticket["dtype"] if codes is None else None, "role": role, "codes": codes}
    work = MoveFiles(source, artifact, place, settings, named_variables({}, *OF_STORES))
    outcome = run(work, manifest, engine, on_progress)
    outcome.expect_whole(manifest.parts)
    results = list(outcome.done.values())
    made = {
        **ticket,
        "files": len(results),
        "rows": sum(one["rows"] for one in results),
        "zero_rows": sum(one["zero_rows"] for one in results),
        "verification": _together([one["verification"] for one in results if one["verification"]["rows"]]),
    }
    write_object(done, json.dumps(made, indent=2, ensure_ascii=False).encode())
    shutil.rmtree(folder, ignore_errors=True)
    return made


def _files_in(folder: Place) -> list[str]:
    """Names of the files, from the folder on."""
    found = (PurePosixPath(name) for name in names_within(folder))
    names = [
        str(name) for name in found if name.suffix.lower() in SUFFIXES and not any(one[0] in "_." for one in name.parts)
    ]
    if not names:
        raise DataError(f"{folder}: holds no {' or '.join(SUFFIXES)} files")
    return names


def _cut(folder: Place, names: list[str], key: str | None) -> Iterator[Part]:
    for number, name in enumerate(names):
        yield Part(number, {"file": name}, _rows_of(folder / name, key))


def _rows_of(path: Place, key: str | None) -> int:
    """For progress; what is wrong with a file is said when it is moved."""
    try:
        return open_source(path, key).rows
    except DataError:
        return 1


def _together(checks: list[dict[str, Any]]) -> dict[str, Any]:
    if not checks:
        return {"rows": 0}
    return {
        "rows": sum(one["rows"] for one in checks),
        "largest_difference": max(one["largest_difference"] for one in checks),
        "smallest_cosine": min(one["smallest_cosine"] for one in checks),
        "mean_cosine_of_code": sum(one["mean_cosine_of_code"] * one["rows"] for one in checks)
        / sum(one["rows"] for one in checks),
    }


def _finished_before(out: Place, done: Place, ticket: dict[str, Any]) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(read_range(done, 0, MANIFEST_BYTES))
    except (OSError, ValueError, DataError):
        made = {}
    if different := [name for name, value in ticket.items() if made.get(name) != value]:
        told = f" ({', '.join(different)} differ)" if made else ""
        raise ConfigError(f"{out} exists and was not made from this folder with this head{told}; choose another out=")
    return made
