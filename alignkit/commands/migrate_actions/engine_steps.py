"""One step of a migration inside the engine that holds the index, and what it says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact, load_artifact
from alignkit.commandline import build
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import complete_sides
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError, DataError
from alignkit.indexes.base import Replacement, VectorIndex
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_compare import Compared, compare_by_queries, compare_by_rows
from alignkit.migration.engine_copy import copy_rows, count_missing, expect_fit, plan_copy
from alignkit.migration.engine_notes import expect_looked_at, name_of, read_note
from alignkit.migration.same_student import compare_with_student, expect_same_student
from alignkit.progress import duration, progress
from alignkit.sentences.beir import read_qrels
from alignkit.sentences.sentence_files import read_sentences

logger = logging.getLogger("alignkit.migrate")

STEPS = ("plan", "copy", "verify", "compare", "cut_over", "roll_back", "drop_old", "give_up", "status")
NEED_HEAD = ("plan", "copy", "verify")
MB = 1_000_000
_UNIT = (0.999, 1.001)
_IN_USE = {
    "untouched": "the old vectors are in use, and there are no new ones",
    "begun": "the old vectors are in use, and new ones lie beside them",
    "cut over": "the new vectors are in use, and the old ones are kept",
}


class Steps:
    """Does the step that the settings name.

    Args:
        config: of the command, whose student is completed from the head.
        settings: the rest of it, as plain values.
    """

    def __init__(self, config: DictConfig, settings: dict[str, Any]) -> None:
        self.config, self.settings, self.force = config, settings, settings["force"]

    def run(self) -> None:
        """Open the index, do it, print what was done."""
        # before a server is asked for anything
        needed = self.settings["step"] in NEED_HEAD or self.settings["queries"] is not None
        self.artifact = load_artifact(self.settings["head"]) if needed else None
        screen = Screen(80)
        with build(self.settings["source"], "source") as index:
            for line in getattr(self, self.settings["step"])(index):
                screen.print(line, markup=False)

    def plan(self, index: VectorIndex) -> Iterator[str]:
        """What a copy would take; nothing is changed."""
        artifact, role = self._head(), self.settings["role"]
        plan = plan_copy(index, artifact, role)
        old = plan.index
        yield f"{old.place}: {old.rows:,} rows of {old.dim} dimensions become {plan.dim}"
        yield self._same_student(index, artifact)
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
            "again; the old ones stay until step=drop_old"
        )
        yield (
            f"reading and mapping {plan.trial_rows:,} rows took {plan.trial_s:.2g} s, so all take at least "
            f"{duration(plan.least_s)}, and writing comes on top; no text is embedded"
        )
        yield f"what will happen: {plan.way}"
        yield "nothing was changed; next: step=copy"

    def copy(self, index: VectorIndex) -> Iterator[str]:
        """Write what is missing."""
        artifact, replacement = self._head(), index.replacement()
        described = index.describe()
        if (stage := replacement.stage()) != "cut over":  # which is refused, with a better word, below
            expect_fit(described, artifact)
            yield self._same_student(index, artifact)
        with progress("copy", "rows") as counted:
            counted.begin(described.rows if stage == "untouched" else None)
            try:
                copied = copy_rows(index, artifact, self.settings["role"], counted.advance)
            except KeyboardInterrupt:
                logger.warning("%d rows are looked at; the same command goes on from about there", counted.done)
                raise
        yield f"{described.place}: {copied.written:,} rows got a vector of {artifact.teacher_dim} dimensions"
        if copied.first:
            row, why = copied.first
            yield f"rows without a usable vector, which get none: {copied.faults:,}; the first: {row} ({why})"
        yield f"index over the new vectors: {copied.built}"
        yield "searches still use the old vectors; next: step=verify"

    def verify(self, index: VectorIndex) -> Iterator[str]:
        """Read back."""
        found = verify_copy(index, self._head(), self.settings["role"])
        yield f"{index.describe().place}: {found.rows:,} rows, and every one with a usable vector has a new one"
        yield (
            f"{found.read_back:,} of them, read back, hold what the head makes of their old vector: smallest cosine "
            f"{found.smallest_cosine:.6f}"
        )
        yield _next(index.replacement())

    def compare(self, index: VectorIndex) -> Iterator[str]:
        """Search both."""
        real = self.settings["queries"] is not None
        found = self._by_queries(index) if real else compare_by_rows(index)
        overlap = found.overlap
        yield (
            f"{index.describe().place}: {found.queries:,} {'queries' if real else 'rows as queries'}, through the "
            f"engine's own search: of the ten nearest rows by the old vectors {overlap.value:.1%} are among the ten "
            f"nearest by the new ones (95% interval {overlap.low:.1%} to {overlap.high:.1%})"
        )
        if found.ndcg is None:
            yield "this says how much changes, not what is better: judged queries do, queries=FILE qrels=FILE"
        else:
            old, new, gain = found.ndcg.old, found.ndcg.new, found.ndcg.gain
            yield (
                f"nDCG@10 of {found.ndcg.queries:,} judged queries: {old.value:.3f} by the student in the old vectors, "
                f"{new.value:.3f} by student and head in the new; the difference is {gain.value:+.3f} (95% interval "
                f"{gain.low:+.3f} to {gain.high:+.3f})"
            )
        yield _next(index.replacement())

    def cut_over(self, index: VectorIndex) -> Iterator[str]:
        """Put the new vectors in use."""
        replacement = index.replacement()
        if replacement.stage() == "begun":
            expect_looked_at(read_note(replacement), self.force)
        replacement.cut_over(force=self.force)
        note = read_note(replacement)
        yield f"{index.describe().place}: {_IN_USE['cut over']}"
        if note is not None:
            yield (f"embed queries from now on with {note.teacher}, or with {note.student} and the head (serve head=…)")
        yield "step=roll_back goes back; step=drop_old deletes the old vectors for good"

    def roll_back(self, index: VectorIndex) -> Iterator[str]:
        """Put the old vectors in use again."""
        index.replacement().roll_back()
        yield f"{index.describe().place}: {_IN_USE['begun']}"
        yield "rows written since the cut-over have no old vector, unless you gave them one: embed them again"
        yield "step=cut_over puts the new vectors in use again; step=give_up deletes them"

    def drop_old(self, index: VectorIndex) -> Iterator[str]:
        """Delete the old vectors."""
        index.replacement().drop_old()
        yield f"{index.describe().place}: the old vectors are deleted; there is no way back"

    def give_up(self, index: VectorIndex) -> Iterator[str]:
        """Delete the new vectors."""
        index.replacement().give_up()
        yield f"{index.describe().place}: {_IN_USE['untouched']}"

    def status(self, index: VectorIndex) -> Iterator[str]:
        """How far it is."""
        replacement, described = index.replacement(), index.describe()
        stage, note = replacement.stage(), read_note(replacement)
        yield f"{described.place}: {described.rows:,} rows of {described.dim} dimensions"
        yield f"stage: {stage}: {_IN_USE[stage]}"
        if note is not None:
            yield f"new vectors by: {note.words()}"
        if stage == "begun":
            missing = count_missing(replacement)
            yield f"rows without a new vector: {missing:,}"
            if missing:
                yield "next: step=copy"
                return
        if note is not None:
            yield f"verified: {note.verified or 'not yet'}; compared: {note.compared or 'not yet'}"
        yield _next(replacement)

    def _head(self) -> Artifact:
        if self.artifact is None:
            raise DataError("head is not set; give it as head=...")
        return self.artifact

    def _same_student(self, index: VectorIndex, artifact: Artifact) -> str:
        """What embedding a sample of rows again shows, or why nothing is shown."""
        place, name = index.describe().place, name_of(artifact.student_identity, "bare vectors")
        unknown = f"the head was trained on {name}; whether it made this index is not checked: "
        if self.settings["source"].get("text") is None and self.settings["source"].get("texts") is None:
            return f"{unknown}name the texts that were embedded, source.text=…"
        if artifact.student_identity is None and self.config.get("student") is None:
            return f"{unknown}name it, student=…"
        try:
            student = self._student(artifact)
            try:
                found = compare_with_student(index, student)
            finally:
                student.close()
        except AlignkitError as error:
            return f"{unknown}{error}"
        if found is None:
            return f"{unknown}no row of the sample has a text and a vector"
        if not self.force:
            expect_same_student(found, place, name)
        return (
            f"{found.same} of {found.rows} rows, embedded again, hold the vector of {name} (median cosine "
            f"{found.median:.4f})"
        )

    def _by_queries(self, index: VectorIndex) -> Compared:
        queries = {one.id: one.text for one in read_sentences(self.settings["queries"]) if one.text.strip()}
        judgements: dict[str, dict[str, int]] | None = None
        if self.settings["qrels"] is not None:
            judgements = {}
            for query, row, grade in read_qrels(Path(self.settings["qrels"]).expanduser()):
                judgements.setdefault(query, {})[row] = grade
        aligned = AlignedEmbedder(self._head(), self._student(self._head()))
        try:
            return compare_by_queries(index, aligned, queries, judgements)
        finally:
            aligned.close()

    def _student(self, artifact: Artifact) -> Embedder:
        complete_sides(self.config, artifact, self.settings["head"], {"student": "two_layer"})
        return build(self.config.student, "student")


def _next(replacement: Replacement) -> str:
    """The step that comes now."""
    stage, note = replacement.stage(), read_note(replacement)
    if stage == "cut over":
        return "next: step=drop_old, or step=roll_back"
    if stage == "untouched":
        return "next: step=plan"
    if note is None or note.verified is None:
        return "next: step=verify"
    return "next: step=cut_over" if note.compared else "next: step=compare"
