"""The vectors that each row searches the teacher's corpus with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignkit.artifact import Artifact
from alignkit.errors import ArtifactError
from alignkit.evaluation.aligning import align
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.heads.base import Head
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import l2_normalize


@dataclass(frozen=True)
class RowVectors:
    """One row's vectors of the queries, as its head imitates the teacher.

    Attributes:
        given: `(Q, teacher_dim)` float32 as the head gives them.
        unit: the same, rows of length 1.
    """

    given: Tensor
    unit: Tensor


def vectors_of_rows(
    test: EvaluationSet, heads: Mapping[RowName, Head], product: Product = HEAD_ALONE
) -> dict[RowName, RowVectors]:
    """The queries through every head, and the teacher's own.

    Args:
        test: what is measured on.
        heads: maps of the student's vectors; the product's is among them.
        product: which row that is.

    Raises:
        ArtifactError: if the product's vectors are not finite.
    """
    vectors = {}
    for name, head in heads.items():
        given = align(head, test.queries.student)
        if name == product.row:
            _check_finite(given)
        vectors[name] = RowVectors(given, l2_normalize(given))
    teacher = torch.from_numpy(np.asarray(test.queries.teacher))
    return {**vectors, RowName.TEACHER: RowVectors(teacher, teacher)}


def queries_of_rows(
    test: EvaluationSet, artifact: Artifact, unit: Mapping[RowName, Tensor], product: Product = HEAD_ALONE
) -> dict[RowName, Tensor]:
    """What each row searches the teacher's corpus with: of the product the whitened queries, if it has a whitening.

    What they would find without it is then the row `product.plain`.

    Args:
        test: what is measured on.
        artifact: the head.
        unit: `(Q, teacher_dim)` of length 1, as heads imitate the teacher; the product's are among them.
        product: which row that is.
    """
    if artifact.query_head is artifact.head:
        return dict(unit)
    whitened = l2_normalize(align(artifact.query_head, test.queries.student))
    return {**unit, product.row: whitened, product.plain: unit[product.row]}


def _check_finite(aligned: Tensor) -> None:
    broken = (~torch.isfinite(aligned).all(dim=1)).nonzero()
    if len(broken):
        raise ArtifactError(
            f"the head gives NaN or Inf for {len(broken)} of {len(aligned)} queries, the first is query "
            f"{int(broken[0])}; train it again with a smaller lr"
        )
