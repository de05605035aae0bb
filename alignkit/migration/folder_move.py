"""A folder of files moved into another one, file by file, by several workers; names and folders within are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import ConfigError, DataError
from alignkit.files import move as rename
from alignkit.files import write_whole
from alignkit.migration.moving import migrate
from alignkit.migration.planned_move import plan
from alignkit.migration.sources import PARQUET, open_source
from alignkit.workers.base import Do, Engine, Part, Result, Work
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run

SUFFIXES = (PARQUET, ".npy")
_FOLDER_OF_INT8 = "int8"


@dataclass
class MoveFiles(Work):
    """Moves one file: beside its place at first, so that what is in the folder is whole.

    Attributes:
        vectors: the folder.
        artifact: the head.
        out: the new folder.
        parts: the folder of unfinished files.
        settings: of `migrate`.
    """

    vectors: Path
    artifact: Artifact = field(repr=False)
    out: Path
    parts: Path
    settings: dict[str, Any]
    name = "migrate"
    unit = "rows"

    def open(self) -> Do:
        """See `Work`."""
        return self._do

    def output(self, part: Part) -> Path:
        """See `Work`."""
        return self.out / part.settings["file"]

    def _do(self, part: Part) -> Result:
        unfinished, finished = self.parts / part.settings["file"], self.output(part)
        made = migrate(self.vectors / part.settings["file"], self.artifact, unfinished, **self.settings)
        finished.parent.mkdir(parents=True, exist_ok=True)
        rename(unfinished, finished)
        unfinished.with_name(f"{unfinished.name}.json").unlink(missing_ok=True)
        return {name: made[name] for name in ("rows", "zero_rows", "dim", "dtype", "verification")}


def migrate_folder(
    vectors: str | Path,
    artifact: Artifact,
    out: str | Path,
    key: str | None,
    dtype: str | None,
    role: Role,
    codes: str | None,
    engine: Engine,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Move every `.parquet` and `.npy` of a folder, as `migrate` moves one; called again, it goes on.

    Files whose names begin with `_` or `.` are left out, as readers of data sets do.

    Returns:
        The manifest that is written beside `out`: what was moved, rows and zero rows, and what reading back showed.

    Raises:
        ConfigError: if `out` holds something else, or an argument is wrong.
        DataError: if the folder holds no such files, or their width differs from the head's student.
        AlignkitError: if files fail; the others are moved.
    """
    vectors, out = Path(vectors).expanduser().absolute(), Path(out).expanduser().absolute()
    if codes is not None and codes.split(",")[0] == _FOLDER_OF_INT8:
        raise ConfigError(f"codes={codes}: each file of a folder would get ranges of its own; move a single file")
    files = _files_in(vectors)
    first = plan(open_source(files[0], key), artifact, out / files[0].relative_to(vectors), dtype, role, codes)
    ticket = {**first.ticket, "vectors": str(vectors)}
    folder = out.with_name(f"{out.name}.parts")
    done = out.with_name(f"{out.name}.json")
    if out.exists() and not folder.exists():
        return _finished_before(out, done, ticket)
    manifest = Manifest.open(folder, ticket, lambda: _cut(files, vectors, key))
    settings = {"key": key, "dtype": first.ticket["dtype"] if codes is None else None, "role": role, "codes": codes}
    work = MoveFiles(vectors, artifact, out, folder / "files", settings)
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
    write_whole(done, json.dumps(made, indent=2, ensure_ascii=False))
    shutil.rmtree(folder, ignore_errors=True)
    return made


def _files_in(folder: Path) -> list[Path]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.name[0] not in "_."
    ]
    if not files:
        raise DataError(f"{folder}: holds no {' or '.join(SUFFIXES)} files")
    return files


def _cut(files: list[Path], folder: Path, key: str | None) -> Iterator[Part]:
    for number, path in enumerate(files):
        yield Part(number, {"file": path.relative_to(folder).as_posix()}, _rows_of(path, key))


def _rows_of(path: Path, key: str | None) -> int:
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


def _finished_before(out: Path, done: Path, ticket: dict[str, Any]) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made = {}
    if different := [name for name, value in ticket.items() if made.get(name) != value]:
        told = f" ({', '.join(different)} differ)" if made else ""
        raise ConfigError(f"{out} exists and was not made from this folder with this head{told}; choose another out=")
    return made
