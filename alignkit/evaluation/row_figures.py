"""How near each row's vectors are to the teacher's, and what it finds on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignkit.evaluation.columns import Column
from alignkit.evaluation.row_vectors import RowVectors
from alignkit.evaluation.table_rows import HEAD_ALONE, Figures, Product, Row, RowName
from alignkit.metrics.alignment import pair_similarities, sample_rows, spearman, vector_figures
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.metrics.similarity import cka_of_grams, hollow_gram
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import cosine

CKA_SENTENCES = 1_000


def figures_of_rows(
    test: EvaluationSet, vectors: Mapping[RowName, RowVectors],
    bootstraps: Mapping[Column, PairedBootstrap[RowName]], found: Mapping[RowName, Figures],
    training_mean: Tensor | None, seed: int, product: Product = HEAD_ALONE,
    before: np.ndarray | None = None,
) -> dict[RowName, Row]:  # fmt: skip
    """The table without its times.

    Args:
        test: what was measured on.
        vectors: of the rows that have any; `teacher` is among them.
        bootstraps: of every measure of what was found.
        found: figures of rows that no bootstrap holds.
        training_mean: `(teacher_dim,)`; without it the centred cosine is undefined.
        seed: of the samples.
        product: the rows of the student and the head.
        before: `(Q, student_dim)` of the student before it was trained, whose own index is the row `student`.
    """
    teacher = vectors[RowName.TEACHER].unit
    given = {product.own_index: test.queries.student, **({} if before is None else {RowName.STUDENT: before})}
    own_indexes = {name: torch.from_numpy(np.array(own, dtype=np.float32)) for name, own in given.items()}
    sample = sample_rows(len(teacher), CKA_SENTENCES, seed)
    ceiling = _Ceiling(teacher, pair_similarities(teacher, seed), sample, hollow_gram(teacher[sample]))
    likeness = {
        **{name: _likeness(own, ceiling, training_mean, seed) for name, own in vectors.items()},
        **{name: _likeness_of_spaces(student, ceiling, seed) for name, student in own_indexes.items()},
    }
    # their queries come out of the same head
    likeness |= {name: likeness[same] for name, same in _same_head(product).items() if same in likeness}
    rows = {}
    for name in bootstraps[Column.OVERLAP_10].names:
        figures = {**likeness.get(name, {}), **found.get(name, {})}
        shares: dict[Column, float | None] = {}
        for measure, bootstrap in bootstraps.items():
            figures[measure] = _value(bootstrap.mean(name))
            if measure != Column.OVERLAP_10:
                shares[measure] = _value(bootstrap.ratio(name, RowName.TEACHER))
        if test.human is not None:
            figures[Column.HUMAN_SPEARMAN] = _human_spearman(test, name, vectors, own_indexes, product)
        rows[name] = Row(figures, shares)
    return rows


def _same_head(product: Product) -> dict[RowName, RowName]:
    """Rows that differ from another in how they search, not in how they imitate the teacher."""
    heads = (HEAD_ALONE, product)
    return {name: one.row for one in heads for name in (one.plain, one.both)}


@dataclass(frozen=True)
class _Ceiling:
    """The teacher's side of every comparison: vectors, similarities of pairs, and the Gram matrix of a sample."""

    unit: Tensor
    similarities: np.ndarray
    sample: Tensor
    gram: Tensor


def _likeness(own: RowVectors, teacher: _Ceiling, training_mean: Tensor | None, seed: int) -> Figures:
    mean = training_mean if training_mean is not None else torch.zeros(teacher.unit.shape[1])
    measured = vector_figures(own.given, teacher.unit, mean)
    figures = {Column(key): value for key, value in measured.items()}
    if training_mean is None:
        figures[Column.COSINE_CENTERED_MEAN] = None
    return {**figures, **_likeness_of_spaces(own.given, teacher, seed)}


def _likeness_of_spaces(vectors: Tensor, teacher: _Ceiling, seed: int) -> Figures:
    """What two spaces of different width can have in common."""
    gram = hollow_gram(vectors[teacher.sample])
    return {
        Column.SPEARMAN: spearman(pair_similarities(vectors, seed), teacher.similarities),
        Column.CKA: cka_of_grams(gram, teacher.gram),
    }


def _human_spearman(
    test: EvaluationSet, name: RowName, vectors: Mapping[RowName, RowVectors],
    own_indexes: Mapping[RowName, Tensor], product: Product,
) -> float | None:  # fmt: skip
    """Rank correlation of cosines with people's scores; the second text is what the row would find: in its index."""
    human = test.human
    if human is None or name == RowName.CASCADE:
        return None
    if name in own_indexes:
        first = second = own_indexes[name]
    elif name == product.both:
        first = second = vectors[product.row].unit
    else:
        own = vectors[_same_head(product).get(name, name)]
        first, second = own.unit, vectors[RowName.TEACHER].unit
    cosines = cosine(first[torch.from_numpy(human.first)], second[torch.from_numpy(human.second)])
    return spearman(cosines.numpy(), human.scores)


def _value(interval: Interval | None) -> float | None:
    return interval.value if interval else None
