"""What `metrics.json` says of each row: how near its vectors are to the teacher's, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from alignkit.metrics.alignment import Row, alignment_figures, pairwise_spearman, sample_rows, spearman
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.metrics.similarity import linear_cka
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import cosine

CKA_SENTENCES = 1_000


def figures_of_rows(
    test: EvaluationSet, vectors: Mapping[str, Tensor], figures: Mapping[str, Mapping[str, np.ndarray]],
    bootstraps: Mapping[str, PairedBootstrap], training_mean: Tensor | None, seed: int,
) -> dict[str, Row]:  # fmt: skip
    """Row name → its figures, as in `metrics.json`.

    Args:
        test: what was measured on.
        vectors: row name → `(Q, teacher_dim)`; `teacher` is among them.
        figures: measure → row name → `(Q,)` per-query figures.
        bootstraps: of the same measures.
        training_mean: `(teacher_dim,)`; without it the centred cosine is undefined.
        seed: of the samples.
    """
    teacher = vectors["teacher"]
    student = torch.from_numpy(np.array(test.queries.student, dtype=np.float32))
    sample = sample_rows(len(teacher), CKA_SENTENCES, seed)
    mean = training_mean if training_mean is not None else torch.zeros(teacher.shape[1])
    rows: dict[str, Row] = {}
    of_pairs: dict[str, Row] = {}
    for name in figures["overlap@10"]:
        row: Row = {}
        if name in vectors:
            row |= alignment_figures(vectors[name], teacher, mean, seed=seed)
            if training_mean is None:
                row["cosine_centered_mean"] = None
        elif name == "student":
            row["spearman"] = pairwise_spearman(student, teacher, seed=seed)
        if name in vectors or name == "student":
            own = student if name == "student" else vectors[name]
            row["cka"] = linear_cka(own[sample], teacher[sample])
        if name == "aligned_both":
            # its queries are those of `aligned`
            row |= of_pairs["aligned"]
        of_pairs[name] = dict(row)
        for measure, bootstrap in bootstraps.items():
            row[measure] = _value(bootstrap.mean(name))
            if measure not in ("overlap@10",):
                row[f"{measure}_share"] = _value(bootstrap.ratio(name, "teacher"))
        if test.human is not None:
            row["human_spearman"] = _human_spearman(test, name, vectors, student)
        rows[name] = row
    return rows


def _human_spearman(test: EvaluationSet, name: str, vectors: Mapping[str, Tensor], student: Tensor) -> float | None:
    """Rank correlation of cosines with people's scores; the second text is what the row would find: in its index."""
    human = test.human
    if human is None or name.startswith("cascade"):
        return None
    sides = {"student": (student, student), "aligned_both": (vectors["aligned"], vectors["aligned"])}
    first, second = sides.get(name, (vectors.get(name, student), vectors["teacher"]))
    cosines = cosine(first[torch.from_numpy(human.first)], second[torch.from_numpy(human.second)])
    return spearman(cosines.numpy(), human.scores)


def _value(interval: Interval | None) -> float | None:
    return interval.value if interval else None
