"""The copy inside an engine by several workers, each of which reads and writes stretches of the index.

What the workers leave, because rows came meanwhile, the ordinary copy does afterwards; so a stretch need not be exact.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import ConfigError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import Stretch
from alignkit.indexes.replacement import Replacement
from alignkit.migration.engine_copy import BATCH, Copied, copy_rows, map_rows, note_begun
from alignkit.migration.engine_notes import keep
from alignkit.migration.places import opened
from alignkit.workers.base import Do, Engine, Part, Result, Work
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run
from alignkit.workers.variables import OF_STORES, named_variables, take_over

# some hundred parts, so that the last worker is not waited for long; none so large that its loss hurts
PARTS, FEWEST_ROWS, MOST_ROWS = 256, 1024, 65_536
FOLDER = Path("outputs", "migrate")


@dataclass
class CopyStretch(Work):
    """Reads a stretch of an index, maps it, and writes it beside or elsewhere.

    Attributes:
        settings: `source` and `target`, as plain values.
        artifact: the head.
        role: of the rows.
        home: the command's working folder, for paths among the settings.
        variables: of the environment, that the settings name or that keys of PostgreSQL and object storage lie in.
    """

    settings: dict[str, Any] = field(repr=False)
    artifact: Artifact
    role: Role
    home: Path
    variables: dict[str, str] = field(repr=False)
    name = "copy"
    unit = "rows"

    def open(self) -> Do:
        """See `Work`."""
        take_over(self.variables, self.home)
        return _Copier(self)


class _Copier:
    """One worker's connections."""

    def __init__(self, work: CopyStretch) -> None:
        self._work, self._stack = work, ExitStack()
        self._replacement = self._stack.enter_context(opened(work.settings))[1]

    def __call__(self, part: Part) -> Result:
        artifact, role = self._work.artifact, self._work.role
        done: Result = {"written": 0, "faults": 0, "first": None}
        for rows in self._replacement.missing(BATCH, Stretch(**part.settings)):
            if rows.faults and done["first"] is None:
                row, why = next(iter(rows.faults.items()))
                done["first"] = [str(rows.ids[row]), why]
            done["faults"] += len(rows.faults)
            done["written"] += self._replacement.write(rows, map_rows(rows, artifact, role))
        return done

    def close(self) -> None:
        """Let go of the connections."""
        self._stack.close()


def copy_by_parts(
    opened_as: tuple[VectorIndex, Replacement],
    settings: dict[str, Any],
    artifact: Artifact,
    role: Role,
    engine: Engine,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Copied:
    """What `copy_rows` does, by an engine's workers.

    Args:
        opened_as: the index, and where its new vectors lie.
        settings: `source` and `target`, from which workers open the same.
        artifact: the head.
        role: of the rows.
        engine: of the workers.
        on_progress: called whenever a part is done.

    Raises:
        ConfigError: if the index is of an engine that only one process can use, or as in `copy_rows`.
        AlignkitError: if parts fail; the others are done, and the next copy goes on.
    """
    index, replacement = opened_as
    _expect_together(index, replacement)
    begun = replacement.stage() == "begun"
    note = note_begun(index, replacement, artifact, role)
    manifest = _manifest(index, settings, note.head, role, begun)
    work = CopyStretch(settings, artifact, role, Path.cwd(), named_variables(settings, "PG", *OF_STORES))
    if manifest.left() and (note.verified or note.compared):
        keep(replacement, replace(note, verified=None, compared=None))
    outcome = run(work, manifest, engine, on_progress)
    outcome.expect_whole(manifest.parts)
    copied = copy_rows(index, artifact, role, into=replacement)
    # they are deleted with the copy's end: of another copy of the same rows nothing would be done yet
    shutil.rmtree(manifest.folder, ignore_errors=True)
    done = outcome.done.values()
    first = next((tuple(one["first"]) for one in done if one["first"]), None)
    return replace(
        copied,
        written=copied.written + sum(one["written"] for one in done),
        faults=max(copied.faults, sum(one["faults"] for one in done)),
        first=first or copied.first,
    )


def _expect_together(index: VectorIndex, replacement: Replacement[VectorIndex]) -> None:
    if not (index.read_together and replacement.written_together):
        raise ConfigError(
            f"{index.describe().place}: only one process can read and write this; copy without engine.workers= and "
            "engine=ray"
        )


def _manifest(index: VectorIndex, settings: dict[str, Any], head: str, role: Role, begun: bool) -> Manifest:
    place = index.describe().place
    command = {
        "place": place,
        "source": settings["source"],
        "target": settings.get("target") or "beside the old vectors",
        "head_sha256": head,
        "role": role,
    }
    name = sha256(repr([place, settings["source"], settings.get("target")]).encode()).hexdigest()[:12]
    folder = FOLDER / f"{name}.parts"
    if not begun:  # what was done for a copy that was given up is gone
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
    return Manifest.open(folder, command, lambda: _cut(index))


def _cut(index: VectorIndex) -> Iterator[Part]:
    rows = min(MOST_ROWS, max(FEWEST_ROWS, index.describe().rows // PARTS))
    for number, one in enumerate(index.stretches(rows)):
        yield Part(number, {"after": one.after, "until": one.until, "rows": one.rows}, one.rows)
