"""From a file to another, or from a folder, behind a progress bar."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from alignkit.artifact import load_artifact
from alignkit.migration.folder_move import migrate_folder
from alignkit.migration.moving import migrate
from alignkit.object_storage.located import is_folder, located
from alignkit.progress import progress
from alignkit.workers.base import Engine
from alignkit.workers.local import LocalEngine
from alignkit.workers.running import Progress

logger = logging.getLogger("alignkit.migrate")


def move_file(settings: dict[str, Any], engine: Engine | None) -> None:
    """Move `vectors` to `out`, and say what was done."""
    artifact = load_artifact(settings["head"])
    student = artifact.student_identity
    known = f"{student.get('model', student.get('backend'))}" if student else "bare vectors of a model it does not know"
    with progress("migrate", "rows") as counted:

        def on_rows(done: int, rows: int) -> None:
            if counted.total is None:  # what an earlier attempt did says nothing about the speed
                counted.begin(rows, done)
            else:
                counted.advance(done - counted.done)

        def on_note(words: str) -> None:
            counted.note = words

        def on_files(now: Progress) -> None:
            on_note(now.note())
            on_rows(now.done, now.size)

        given = {name: settings[name] for name in ("vectors", "out", "key", "dtype", "role", "codes")}
        try:
            if is_folder(located(settings["vectors"])):
                local = engine or LocalEngine()
                manifest = migrate_folder(artifact=artifact, engine=local, on_progress=on_files, **given)
            else:
                manifest = migrate(artifact=artifact, progress=on_rows, engine=engine, note=on_note, **given)
        except KeyboardInterrupt:
            logger.warning("%d rows are done; the same command goes on from about there", counted.done)
            raise
    checked = manifest["verification"]
    lines = [
        f"{settings['out']}: {_files(manifest)}{manifest['rows']:,} rows of {_stored(manifest)}",
        f"the head was trained on: {known}; an index of any other model would be wrong here",
    ]
    if checked["rows"]:
        lines.append(
            f"{checked['rows']} rows read back agree with the head: largest difference "
            f"{checked['largest_difference']:.2g}, smallest cosine {checked['smallest_cosine']:.6f}"
        )
    if "codes" in manifest:
        lines.append(_said_of_codes(settings["out"], manifest))
    if manifest["zero_rows"]:
        lines.append(f"{manifest['zero_rows']:,} rows are zero and stay zero")
    sys.stdout.write("\n".join(lines) + "\n")


def _files(manifest: dict[str, Any]) -> str:
    return f"{manifest['files']:,} files, " if "files" in manifest else ""


def _stored(manifest: dict[str, Any]) -> str:
    """How a row is stored."""
    if "codes" not in manifest:
        return f"{manifest['dim']} dimensions, {manifest['dtype']}"
    dims, whole = manifest["code_dims"], manifest["dim"]
    of = f"{dims} dimensions" if dims == whole else f"the first {dims} of {whole} dimensions"
    return f"{of} as {manifest['codes']}, {manifest['code_bytes']:,} bytes each"


def _said_of_codes(out: str, manifest: dict[str, Any]) -> str:
    """What a search needs beside the codes."""
    kept = manifest["verification"].get("mean_cosine_of_code")
    near = f"; the mean cosine of code and vector is {kept:.4f}" if kept is not None else ""
    if manifest["codes"] == "int8":
        return f"encode queries with the ranges in {Path(out).with_suffix('.ranges.npy')}{near}"
    if manifest["codes"] == "binary":
        return f"search by Hamming distance, then rescore with float queries{near}"
    return f"cut queries to the same dimensions{near}"
