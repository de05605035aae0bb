"""One look at a head: some live queries, asked of the teacher, held against what the head gives for them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import EmbeddedBatch, Role, RowsInOrder
from alignkit.errors import DataError
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.runs.fingerprints import seen_in_training, training_fingerprints
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.watching.e_process import normal_scores
from alignkit.watching.live_queries import LiveQueries
from alignkit.watching.past_looks import Look, PastLooks, Reference
from alignkit.watching.searched import Figures, Searched, figures_of

logger = logging.getLogger(__name__)

# of the reference's queries, searched again at every look
SEARCHED_AGAIN = 200


class Asked(Protocol):
    """The teacher, through the cache."""

    @property
    def dim(self) -> int:
        """Width of its vectors."""
        ...

    def embed(self, texts: Sequence[str], role: Role = ...) -> Iterable[EmbeddedBatch]:
        """See `Embedder.embed`."""
        ...


@dataclass(frozen=True)
class Looked:
    """What a look found beside its figures.

    Attributes:
        past: all looks, this one included.
        index_change: of the reference's queries, now less at the first look; `None` at the first look.
        notes: what was left out, a sentence each.
    """

    past: PastLooks
    index_change: Interval | None
    notes: tuple[str, ...]


def look(
    past: PastLooks, queries: LiveQueries, usable: np.ndarray, aligned: AlignedEmbedder, teacher: Asked, role: Role,
    searched: Searched, sample: HeldOutSample | None, *, name: str, budget: int, seed: int,
) -> Looked:  # fmt: skip
    """Draw queries that were not asked before, ask for them, search, and keep what was found.

    Args:
        past: held, see `past_looks`.
        queries: N.
        usable: `(N,)` bool, those that the head was not trained on.
        aligned: student and head.
        teacher: is asked.
        role: whose prompt the teacher uses.
        searched: the teacher's vectors.
        sample: of the run; without it the first look is what later ones are compared with.
        name: of the file of queries.
        budget: texts that the teacher may be asked for.
        seed: of the draw.

    Raises:
        DataError: if no query is left to ask for, or none of them has both vectors.
    """
    number = len(past.looks) + 1
    rows, notes = _drawn(past, queries, usable, budget, [seed, number])
    texts = [queries.texts[row] for row in rows]
    student, no_student = _embedded(aligned.embed_student(texts), len(texts), aligned.artifact.student_dim)
    by_teacher, no_teacher = _embedded(teacher.embed(texts, role), len(texts), teacher.dim)
    failures = no_teacher | no_student
    kept = [place for place in range(len(texts)) if place not in failures]
    if not kept:
        raise DataError(f"none of {len(texts):,} queries has both vectors; the first: {failures[min(failures)]}")
    if failures:
        first = failures[min(failures)]
        notes.append(f"{len(failures):,} of {len(texts):,} queries have no vector and are left out; the first: {first}")
    figures = _figures(searched, aligned, student[kept], _unit(by_teacher[kept]))
    days = [queries.day(rows[place]) for place in kept]
    found = Look(
        number=number,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        queries=name,
        latest=None if (latest := queries.latest()) is None else latest.isoformat(),
        keys=[queries.keys[row] for row in rows],
        days=[None if day is None else day.isoformat() for day in days],
        overlap=figures.overlap.round(6).tolist(),
        cosine=figures.cosine.round(6).tolist(),
        normal_scores=[],
    )
    change = None
    if past.reference is None:
        past, found, more = _begun(past, found, aligned, searched, sample)
        notes += more
    elif sample is not None:
        change = _index_change(past.reference, aligned, searched, sample)
    if found.overlap:
        scores = normal_scores(found.figures.scores(), past.scores(), [seed, number])
        found = replace(found, normal_scores=scores.round(6).tolist())
    for note in notes:
        logger.warning("%s", note)
    return Looked(past.add(found), change, tuple(notes))


def usable_queries(queries: LiveQueries, run: Path | None) -> np.ndarray:
    """`(N,)` bool: those that the head was not trained on, as far as its run tells."""
    known = training_fingerprints(run)
    if known is None:
        return np.ones(len(queries), dtype=bool)
    return ~seen_in_training(queries.texts, known)


def _drawn(
    past: PastLooks, queries: LiveQueries, usable: np.ndarray, budget: int, seed: list[int]
) -> tuple[list[int], list[str]]:
    """Rows to ask for, in order of time, and what there is to say of them."""
    asked, notes = past.asked(), list[str]()
    left = [row for row in np.flatnonzero(usable).tolist() if queries.keys[row] not in asked]
    if seen := int((~usable).sum()):
        notes.append(
            f"{seen:,} of {len(queries):,} queries are texts that the head was trained on; its figures would flatter "
            "it there, so the teacher is not asked for them"
        )
    if not left:
        why = "earlier looks asked for all the others" if usable.any() else "the head was trained on all of them"
        raise DataError(f"no query is left to ask the teacher for: {why}; give queries that have come since")
    if budget > len(left):
        notes.append(f"budget={budget}: there are {len(left):,} queries that were not asked for before; all are taken")
    since = max((look.latest for look in past.looks if look.latest), default=None)
    drawn = np.array(left)[np.random.default_rng(seed).permutation(len(left))]
    if since is not None:  # a log that grows is looked at for what is new in it
        after = datetime.fromisoformat(since)
        is_old = [(when := queries.times[row]) is None or when <= after for row in drawn.tolist()]
        drawn = drawn[np.argsort(is_old, kind="stable")]
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(drawn[:budget].tolist(), key=lambda row: (queries.times[row] or never, row)), notes


def _begun(
    past: PastLooks, found: Look, aligned: AlignedEmbedder, searched: Searched, sample: HeldOutSample | None
) -> tuple[PastLooks, Look, list[str]]:
    """At the first look: what all others are compared with."""
    if sample is not None and len(sample.student):
        figures = _figures(searched, aligned, sample.student, sample.teacher)
        return past.begin(Reference("the texts held out from training", searched.place, figures)), found, []
    note = (
        "the head came without its run's held-out texts, so this look is what later ones are compared with; "
        "a run of train keeps some"
    )
    past = past.begin(Reference("the queries of the first look", searched.place, found.figures))
    return past, replace(found, days=[], overlap=[], cosine=[]), [note]


def _index_change(
    reference: Reference, aligned: AlignedEmbedder, searched: Searched, sample: HeldOutSample
) -> Interval | None:
    """What the same queries find now, less what they found at the first look: only the index can have changed that."""
    before = reference.figures.overlap
    if len(before) != len(sample.student):  # the first look had no sample
        return None
    rows = sample_rows(len(before), SEARCHED_AGAIN, 0).numpy()
    now = _figures(searched, aligned, sample.student[rows], sample.teacher[rows]).overlap
    return PairedBootstrap({"now": now, "before": before[rows]}).difference("now", "before")


def _figures(searched: Searched, aligned: AlignedEmbedder, student: np.ndarray, teacher: np.ndarray) -> Figures:
    with torch.inference_mode():
        plain = aligned.artifact.head(torch.from_numpy(np.ascontiguousarray(student))).float().numpy()
    return figures_of(searched, aligned.align(student), teacher, _unit(plain))


def _embedded(batches: Iterable[EmbeddedBatch], count: int, dim: int) -> tuple[np.ndarray, dict[int, str]]:
    rows = RowsInOrder(count, dim)
    for batch in batches:
        rows.put(batch)
    return rows.all()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
