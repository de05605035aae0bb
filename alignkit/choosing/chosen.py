"""From texts to those that the teacher should embed: the student says what is alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.choosing.candidates import Candidates
from alignkit.choosing.choosing_rows import choose_rows
from alignkit.choosing.spreading import Covered
from alignkit.choosing.text_sample import TextSample
from alignkit.embedders.base import Embedder, Role, RowsInOrder
from alignkit.errors import DataError, EmbedderError
from alignkit.progress import progress


@dataclass(frozen=True)
class Chosen:
    """What was chosen.

    Attributes:
        texts: at most the budget, in the order in which they came first.
        counts: how often each came.
        near: how many of them are nearly the same as another text that is chosen or was embedded before.
        passed: how many such texts were passed over.
        without_vector: position among the candidates that were looked at → why the student gave none.
    """

    texts: list[str]
    counts: list[int]
    near: int
    passed: int
    without_vector: dict[int, str]


def choose(
    found: Candidates, student: Embedder, role: Role, budget: int, *, before: Sequence[Covered] = (),
    learnt: TextSample | None = None, seed: int = 0,
) -> Chosen:  # fmt: skip
    """Embed what there is to choose from by the student, and choose.

    Args:
        found: the texts.
        student: cheap to ask.
        role: whose prompt it uses.
        budget: at most so many are chosen.
        before: what the head was trained on, where its vectors are known.
        learnt: the same as texts.
        seed: of the clusters.

    Raises:
        DataError: if there is nothing to choose from.
        EmbedderError: if the student gives no vector for any of the texts.
    """
    texts, counts = found.new.texts, found.new.counts
    if not texts:
        raise DataError(_nothing(found))
    if budget >= len(texts):  # nothing to choose, nothing to embed
        return Chosen(texts, counts.tolist(), 0, 0, {})
    covered = [*before, *(_covered(one, student, role) for one in (found.cached, learnt) if one is not None)]
    vectors, failures = _embedded(texts, student, role)
    if len(failures) == len(texts):
        raise EmbedderError(f"no text has a vector by the student; the first: {failures[0]}")
    kept = np.delete(np.arange(len(texts)), list(failures))
    of_kept = [texts[row] for row in kept.tolist()]
    rows = choose_rows(of_kept, counts[kept], vectors[kept] if failures else vectors, budget, covered, seed)
    chosen = kept[rows.rows].tolist()
    return Chosen([texts[row] for row in chosen], counts[chosen].tolist(), rows.near, rows.passed, failures)


def _covered(sample: TextSample, student: Embedder, role: Role) -> Covered:
    """What was embedded before, or a sample of it, as the student sees it."""
    texts = sample.texts
    vectors, failures = _embedded(texts, student, role)
    kept = np.delete(np.arange(len(texts)), list(failures))
    return Covered(vectors[kept], sample.distinct / max(1, len(texts)), [texts[row] for row in kept.tolist()])


def _embedded(texts: list[str], student: Embedder, role: Role) -> tuple[np.ndarray, dict[int, str]]:
    rows = RowsInOrder(len(texts), student.dim)
    if texts:
        with progress("student", "texts") as counted:
            counted.begin(len(texts))
            for batch in student.embed(texts, role):
                rows.put(batch)
                counted.advance(len(batch.indices) + len(batch.failures))
    return rows.all()


def _nothing(found: Candidates) -> str:
    """Why there is nothing to choose from."""
    if not found.read:
        return "there is no sentence to choose from: the file holds none"
    counts = {
        "have the teacher's vector in the cache": found.cached.distinct,
        "were in the head's training": found.learnt.distinct,
        "could not be embedded by the teacher before": found.refused.distinct,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"no sentence is left to choose: {said}; give sentences that are new"
