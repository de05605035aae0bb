"""The student before it was trained, and the head that it had then: what training the student is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from alignkit.artifact import Artifact
from alignkit.errors import DataError
from alignkit.evaluation.aligning import align
from alignkit.evaluation.embedding_time import EmbeddingTime
from alignkit.evaluation.row_vectors import RowVectors, queries_of_rows
from alignkit.evaluation.same_models import check_fit
from alignkit.evaluation.table_rows import RowName
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import l2_normalize


@dataclass(frozen=True)
class Before:
    """The untouched student on a set, and the head alone.

    Attributes:
        test: the queries and the corpus that are measured, with the untouched student's vectors.
        artifact: the head that was fitted to that student.
        embedding: what a query costs the untouched student; `None` where that was not asked.
    """

    test: EvaluationSet
    artifact: Artifact
    embedding: EmbeddingTime | None = None

    def check(self, test: EvaluationSet) -> None:
        """Refuse vectors of other texts than those that are measured.

        Raises:
            DataError: if the texts are not the same.
            ArtifactError: if the head was made for other vectors.
        """
        check_fit(self.artifact, self.test)
        for name, own, trained in (
            ("queries", self.test.queries, test.queries),
            ("corpus", self.test.corpus, test.corpus),
        ):
            if len(own) != len(trained):
                raise DataError(
                    f"the untouched student's {name} are {len(own):,} texts, the trained student's {len(trained):,}; "
                    "embed the same texts with both"
                )
            if own.texts and trained.texts and list(own.texts) != list(trained.texts):
                raise DataError(f"the untouched and the trained student's {name} are different texts; embed the same")

    def vectors(self) -> RowVectors:
        """Of the queries, as the head alone imitates the teacher."""
        given = align(self.artifact.head, self.test.queries.student)
        return RowVectors(given, l2_normalize(given))

    def asked(self) -> dict[RowName, Tensor]:
        """`(Q, teacher_dim)`, rows of length 1: what the head alone searches the teacher's corpus with."""
        return queries_of_rows(self.test, self.artifact, {RowName.ALIGNED: self.vectors().unit})

    @property
    def student(self) -> np.ndarray:
        """`(Q, student_dim)`."""
        return self.test.queries.student
