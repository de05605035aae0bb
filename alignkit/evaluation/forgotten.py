"""What training a student took from texts that are unlike its training texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignkit.artifact import Artifact
from alignkit.embedders.base import Embedder, Role, RowsInOrder
from alignkit.errors import DataError, EmbedderError
from alignkit.evaluation.aligning import align
from alignkit.evaluation.columns import Column
from alignkit.heads.base import Head
from alignkit.metrics.alignment import overlap_at_k
from alignkit.metrics.intervals import RESAMPLES, Interval, PairedBootstrap
from alignkit.pairs.unit_rows import unit_rows
from alignkit.vectors import l2_normalize, unit_cosine

FEWEST_TEXTS = 30
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Change:
    """A figure before and after training, and the difference, paired by text; all with 95% intervals."""

    before: Interval
    after: Interval
    change: Interval


@dataclass(frozen=True)
class Forgetting:
    """How near the student and its head come to the teacher on texts that they were not trained for.

    Attributes:
        source: of the texts.
        texts: how many.
        changes: `overlap@10` with the teacher's own neighbours among these texts, and `cosine_mean`.
    """

    source: str
    texts: int
    changes: Mapping[Column, Change]

    @property
    def lost(self) -> tuple[Column, ...]:
        """The figures that are worse beyond chance."""
        return tuple(column for column, one in self.changes.items() if one.change.high < 0)

    def to_json(self) -> dict[str, Any]:
        """As `meta.student_training.forgetting` in `metrics.json` has it."""
        changes = {
            column.value: {name: interval.to_json() for name, interval in vars(one).items()}
            for column, one in self.changes.items()
        }
        return {"source": self.source, "texts": self.texts, "changes": changes, "lost": [*self.lost]}


@torch.inference_mode()
def forgetting(
    teacher: np.ndarray, before: tuple[np.ndarray, Artifact], after: tuple[np.ndarray, Artifact], *,
    source: str, seed: int = 0, resamples: int = RESAMPLES,
) -> Forgetting:  # fmt: skip
    """Compare the trained student with the untouched one on the same texts.

    Each text is a query and the others, with the teacher's vectors, are the corpus.

    Args:
        teacher: `(N, teacher_dim)`.
        before: `(N, student_dim)` of the untouched student, and the head alone.
        after: `(N, trained_dim)` of the trained student, and its head.
        source: of the texts, for the report.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        DataError: if there are fewer than 30 texts, or not one vector for each.
    """
    students = {BEFORE: before, AFTER: after}
    counts = {len(teacher), *(len(student) for student, _ in students.values())}
    if len(counts) > 1:
        raise DataError(f"expected one vector of each model for each text, got {sorted(counts)}")
    if len(teacher) < FEWEST_TEXTS:
        raise DataError(f"{source}: {len(teacher)} texts, at least {FEWEST_TEXTS} are needed to see what is forgotten")
    unit = torch.from_numpy(np.asarray(unit_rows(teacher)))
    figures: dict[Column, dict[str, np.ndarray]] = {Column.OVERLAP_10: {}, Column.COSINE_MEAN: {}}
    for name, (student, artifact) in students.items():
        asked, own = _through(artifact.query_head, student), _through(artifact.head, student)
        figures[Column.OVERLAP_10][name] = overlap_at_k(asked, unit, seed=seed).numpy()
        figures[Column.COSINE_MEAN][name] = unit_cosine(own, unit).numpy()
    changes = {}
    for column, by_name in figures.items():
        bootstrap = PairedBootstrap(by_name, seed=seed, resamples=resamples)
        was, now, change = bootstrap.mean(BEFORE), bootstrap.mean(AFTER), bootstrap.difference(AFTER, BEFORE)
        if was is not None and now is not None and change is not None:
            changes[column] = Change(was, now, change)
    return Forgetting(source, len(teacher), changes)


def check_forgetting(
    texts: Sequence[str], source: str, teacher: Embedder, before: tuple[Embedder, Artifact],
    after: tuple[Embedder, Artifact], *, role: Role = "document", seed: int = 0,
) -> tuple[Forgetting | None, str | None]:  # fmt: skip
    """Embed the texts with all three models and compare, see `forgetting`.

    A training that is done is not thrown away because the teacher does not answer now.

    Args:
        texts: that the student was not trained for, see `pairs.general_texts`.
        source: of the texts, for the report.
        teacher: through the cache: a text that it knows costs no call.
        before: the untouched student, and the head alone.
        after: the trained student, and its head.
        role: in which all embed the texts, as they did the training texts.
        seed: of the bootstrap.

    Returns:
        What was found and `None`, or `None` and why there is nothing. Texts that a model cannot embed are left out.
    """
    names = ("teacher", "untouched student", "trained student")
    vectors, known = [], np.ones(len(texts), dtype=bool)
    for name, embedder in zip(names, (teacher, before[0], after[0]), strict=True):
        try:
            rows = RowsInOrder(len(texts), embedder.dim)
            for batch in embedder.embed(texts, role):
                rows.put(batch)
            own, failures = rows.all()
        except EmbedderError as error:
            return None, f"the {name} has no vectors of these texts: {error}"
        vectors.append(own)
        known[list(failures)] = False
    if known.sum() < FEWEST_TEXTS:
        return None, f"only {known.sum()} of the {len(texts):,} texts have a vector of every model"
    of_teacher, was, now = (own[known] for own in vectors)
    return forgetting(of_teacher, (was, before[1]), (now, after[1]), source=source, seed=seed), None


def _through(head: Head, student: np.ndarray) -> Tensor:
    return l2_normalize(align(head, student))
