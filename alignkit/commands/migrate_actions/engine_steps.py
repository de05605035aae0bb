"""One step of a migration, inside the engine that holds the index or to another, and what it says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from alignkit.artifact import Artifact, load_artifact
from alignkit.commandline.results import Screen
from alignkit.commands.migrate_actions.compare_step import compare_lines
from alignkit.commands.migrate_actions.own_student import OwnStudent
from alignkit.commands.rules.migrate import NEED_HEAD
from alignkit.errors import DataError
from alignkit.indexes.elsewhere import Elsewhere
from alignkit.indexes.stages import Stage
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_copy import Copied, came_since, copy_rows, count_missing, expect_fit, plan_copy
from alignkit.migration.engine_cut_over import cut_over_rows
from alignkit.migration.engine_notes import read_note
from alignkit.migration.engine_parts import copy_by_parts
from alignkit.migration.places import opened
from alignkit.progress import Counted, duration, progress
from alignkit.workers.base import Engine
from alignkit.workers.running import Progress

logger = logging.getLogger("alignkit.migrate")

MB = 1_000_000
_UNIT = (0.999, 1.001)
_BESIDE: dict[Stage, str] = {
    "untouched": "the old vectors are in use, and there are no new ones",
    "begun": "the old vectors are in use, and new ones lie beside them",
    "cut over": "the new vectors are in use, and the old ones are kept",
}
_ELSEWHERE: dict[Stage, str] = {
    "untouched": "the old index is in use, and nothing was moved to {place}",
    "begun": "the old index is in use, and its rows are moved to {place}",
    "cut over": "{place} takes over, and the old index stays as it was",
}


class Steps:
    """Does the step that the settings name.

    Args:
        config: of the command, whose student is completed from the head.
        settings: the rest of it, as plain values.
        engine: whose workers copy; `None` for this process.
    """

    def __init__(self, config: DictConfig, settings: dict[str, Any], engine: Engine | None) -> None:
        self.config, self.settings, self.force, self.engine = config, settings, settings["force"], engine

    def run(self) -> None:
        """Open the index, do it, print what was done."""
        # before a server is asked for anything
        step = self.settings["step"]
        needed = step in NEED_HEAD or self.settings["queries"] is not None
        # for rows that come all the time
        needed = needed or (step == "cut_over" and self.settings["head"] is not None)
        self.artifact = load_artifact(self.settings["head"]) if needed else None
        screen = Screen(80)
        with opened(self.settings) as (self.index, self.replacement):
            self.place = self.index.describe().place
            for line in getattr(self, self.settings["step"])():
                screen.print(line, markup=False)

    def plan(self) -> Iterator[str]:
        """What a copy would take; nothing is changed."""
        artifact, role = self._head(), self.settings["role"]
        plan = plan_copy(self.index, artifact, role, self.replacement)
        old = plan.index
        yield f"{old.place}: {old.rows:,} rows of {old.dim} dimensions become {plan.dim}"
        yield OwnStudent(self.config, self.settings, artifact).made(self.index, force=self.force)
        if plan.faults:
            first, why = next(iter(plan.faults.items()))
            yield (
                f"without a usable vector, so that they get none: {len(plan.faults):,} of the first "
                f"{plan.trial_rows:,} rows; the first: {first} ({why})"
            )
        if old.metric not in (None, "cosine") and not _UNIT[0] <= plan.lengths[0] <= plan.lengths[1] <= _UNIT[1]:
            yield (
                f"the old vectors are {plan.lengths[0]:.3g} to {plan.lengths[1]:.3g} long and searched by "
                f"{old.metric}; the new ones have length 1, so scores change"
            )
        yield (
            f"the new vectors take {plan.new_bytes / MB:,.1f} MB as float32, and an index over them may take as much "
            f"again; the old ones stay{'' if self.replacement.elsewhere else ' until step=drop_old'}"
        )
        yield (
            f"reading and mapping {plan.trial_rows:,} rows took {plan.trial_s:.2g} s, so all take at least "
            f"{duration(plan.least_s)}, and writing comes on top; no text is embedded"
        )
        yield f"what will happen: {plan.way}"
        yield "nothing was changed; next: step=copy"

    def copy(self) -> Iterator[str]:
        """Write what is missing."""
        artifact, replacement = self._head(), self.replacement
        described = self.index.describe()
        if (stage := replacement.stage()) != "cut over":  # which is refused, with a better word, below
            expect_fit(described, artifact)
            yield OwnStudent(self.config, self.settings, artifact).made(self.index, force=self.force)
        with progress("copy", "rows") as counted:
            counted.begin(described.rows if stage == "untouched" else None)
            try:
                copied = self._copy(artifact, counted)
            except KeyboardInterrupt:
                logger.warning("%d rows are looked at; the same command goes on from about there", counted.done)
                raise
        moved = f" in {self.replacement.new.place}" if isinstance(self.replacement, Elsewhere) else ""
        yield f"{self.place}: {copied.written:,} rows got a vector of {artifact.teacher_dim} dimensions{moved}"
        if copied.first:
            row, why = copied.first
            yield f"rows without a usable vector, which get none: {copied.faults:,}; the first: {row} ({why})"
        if copied.pruned:
            yield f"rows that were deleted meanwhile are deleted there too: {copied.pruned:,}"
        yield f"index over the new vectors: {copied.built}"
        yield "searches still use the old vectors; next: step=verify"

    def _copy(self, artifact: Artifact, counted: Counted) -> Copied:
        role = self.settings["role"]
        if self.engine is None:
            return copy_rows(self.index, artifact, role, counted.advance, self.replacement)

        def on_parts(now: Progress) -> None:
            counted.note = now.note()
            if not now.rates:  # what an earlier attempt did says nothing about the speed
                counted.begin(now.size, now.done)
            else:
                counted.advance(now.done - counted.done)

        places = {name: self.settings.get(name) for name in ("source", "target")}
        return copy_by_parts((self.index, self.replacement), places, artifact, role, self.engine, on_parts)

    def verify(self) -> Iterator[str]:
        """Read back."""
        found = verify_copy(self.index, self._head(), self.settings["role"], into=self.replacement)
        if found.since:
            yield f"{self.place}: {found.rows:,} rows, of which {found.since:,} came or changed since the copy"
        else:
            yield f"{self.place}: {found.rows:,} rows, and every one with a usable vector has a new one"
        yield (
            f"{found.read_back:,} rows, read back, hold what the head makes of their old vector: smallest cosine "
            f"{found.smallest_cosine:.6f}"
        )
        yield self._next()

    def compare(self) -> Iterator[str]:
        """Search both."""
        yield from compare_lines(self.config, self.settings, self.artifact, self.index, self.replacement)
        yield self._next()

    def cut_over(self) -> Iterator[str]:
        """Put the new vectors in use."""
        replacement = self.replacement
        role = self.settings["role"]
        done = cut_over_rows(self.index, self.artifact, role, force=self.force, into=replacement)
        yield f"{self.place}: {self._words('cut over')}"
        if done.caught_up:
            yield f"rows that had come or changed since the copy got their vectors first: {done.caught_up:,}"
        if done.held_up is not None:
            yield (
                f"nobody could write to it for {done.held_ms:.0f} ms, in which {done.held_up:,} of these rows were "
                "written"
                if done.held_up
                else f"nobody could write to it for {done.held_ms:.0f} ms"
            )
        if replacement.elsewhere:
            yield "what is read is your application's choice: let it read the new index from now on"
        if (note := read_note(replacement)) is not None:
            yield f"embed queries from now on with {note.teacher}, or with {note.student} and the head (serve head=…)"
        if replacement.elsewhere:
            yield "step=roll_back goes back; step=drop_old ends the migration, and deletes nothing of the old index"
        else:
            yield "step=roll_back goes back; step=drop_old deletes the old vectors for good"

    def roll_back(self) -> Iterator[str]:
        """Put the old vectors in use again."""
        self.replacement.roll_back()
        yield f"{self.place}: {self._words('begun')}"
        if self.replacement.elsewhere:
            yield (
                "let your application read the old index again; what it wrote to the new one since the cut-over is not "
                "in the old one, and step=copy would delete it"
            )
        else:
            yield "rows written since the cut-over have no old vector, unless you gave them one: embed them again"
        yield "step=cut_over puts the new vectors in use again; step=give_up deletes them"

    def drop_old(self) -> Iterator[str]:
        """Delete the old vectors, or forget how the rows came to another engine."""
        self.replacement.drop_old()
        if isinstance(self.replacement, Elsewhere):
            yield f"{self.replacement.new.place}: is an index like any other now, and no longer follows the old one"
            yield f"{self.place}: is as it was; delete it yourself when nothing reads it any more"
        else:
            yield f"{self.place}: the old vectors are deleted; there is no way back"

    def give_up(self) -> Iterator[str]:
        """Delete the new vectors."""
        self.replacement.give_up()
        yield f"{self.place}: {self._words('untouched')}"

    def status(self) -> Iterator[str]:
        """How far it is."""
        replacement, described = self.replacement, self.index.describe()
        stage, note = replacement.stage(), read_note(replacement)
        yield f"{described.place}: {described.rows:,} rows of {described.dim} dimensions"
        yield f"stage: {stage}: {self._words(stage)}"
        if note is not None:
            yield f"new vectors by: {note.words()}"
        if stage == "begun":
            missing, surplus = count_missing(replacement), replacement.surplus()
            yield f"rows without a new vector: {missing:,}"
            if surplus:
                yield f"rows that were deleted since they were moved: {surplus:,}"
            if (missing or surplus) and not came_since(note, missing + surplus, described.rows):
                yield "next: step=copy"
                return
            if missing or surplus:
                yield "they came or changed since the copy; step=cut_over head=… takes them along"
        if note is not None:
            yield f"verified: {note.verified or 'not yet'}; compared: {note.compared or 'not yet'}"
        yield self._next()

    def _head(self) -> Artifact:
        if self.artifact is None:
            raise DataError("head is not set; give it as head=...")
        return self.artifact

    def _words(self, stage: Stage) -> str:
        """What is in use."""
        if isinstance(self.replacement, Elsewhere):
            return _ELSEWHERE[stage].format(place=self.replacement.new.place)
        return _BESIDE[stage]

    def _next(self) -> str:
        """The step that comes now."""
        stage, note = self.replacement.stage(), read_note(self.replacement)
        if stage == "cut over":
            return "next: step=drop_old, or step=roll_back"
        if stage == "untouched":
            return "next: step=plan"
        if note is None or note.verified is None:
            return "next: step=verify"
        return "next: step=cut_over" if note.compared else "next: step=compare"
