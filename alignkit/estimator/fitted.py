"""A fitted head: apply it, judge it, keep it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.aligned import AlignedEmbedder, head_for, student_beside
from alignkit.artifact import Artifact, load_artifact, save_artifact
from alignkit.embedders.base import ROLES, Role
from alignkit.embedders.distilled import is_distilled
from alignkit.errors import ConfigError, DataError
from alignkit.estimator.arrays import as_pairs, as_vectors
from alignkit.estimator.report import Report
from alignkit.estimator.training_report import save_run, versions
from alignkit.evaluation.aligning import align
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.embedding_time import not_timed
from alignkit.evaluation.leak_checks import check_against, check_leaks
from alignkit.evaluation.result import About, Result
from alignkit.files import refused
from alignkit.heads.base import Head
from alignkit.hub.fetching import head_path
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.base import Origin, PairSplits
from alignkit.pairs.evaluation_set import EvaluationSet, Side, set_of_pairs
from alignkit.runs.baselines import load_baselines, save_baselines
from alignkit.runs.folder import run_of
from alignkit.runs.training_sample import TrainingSample
from alignkit.setting_rules import check, one_of
from alignkit.student_files import STUDENT
from alignkit.vectors import l2_normalize


@dataclass(frozen=True, repr=False)
class Fitted:
    """A head with its rivals, made by `alignkit.fit` or read by `alignkit.load`.

    Attributes:
        artifact: the head and what is known of it.
        baselines: `ridge` and `mean` of the same pairs; empty for a head that lies alone.
        report: of the pairs that `fit` held out; `None` for a head from disk.
        splits: what it was fitted on; `None` for a head from disk.
        sample: of the training pairs, where it is known.
        folder: of the run that it was read from; `None` for a new one and for a head that lies alone.
        source: the folder or the bundle that it was read from; `None` for a new one.
    """

    artifact: Artifact
    baselines: Mapping[str, Head] = field(default_factory=dict)
    report: Report | None = None
    splits: PairSplits | None = None
    sample: TrainingSample | None = None
    folder: Path | None = None
    source: Path | None = None

    def __repr__(self) -> str:
        """One line: a notebook shows it where a cell ends with it, and the pairs are pages of numbers."""
        head = f"Fitted({self.artifact.head.kind()}: {self.student_dim} -> {self.teacher_dim} dimensions"
        return head + (")" if self.report is None else f", {self.report.verdict.name})")

    @property
    def student_dim(self) -> int:
        """Width of the vectors that `transform` takes."""
        return self.artifact.head.student_dim

    @property
    def teacher_dim(self) -> int:
        """Width of the vectors that `transform` gives."""
        return self.artifact.head.teacher_dim

    def transform(self, student_vectors: Any, role: Role = "query") -> np.ndarray:
        """Map student vectors into the teacher's space.

        Args:
            student_vectors: `(N, student_dim)`: arrays, memory maps, tensors, lists.
            role: `query` for what searches an index of the teacher's vectors: whitened where held-out texts found
                themselves more often so. `document` for what is put into such an index or compared with other
                aligned vectors: as near to the teacher's vectors as the head comes.

        Returns:
            `(N, teacher_dim)` float32, rows of length 1.

        Raises:
            ConfigError: for another role.
            DataError: for another shape or width, NaN, Inf or zero rows.
        """
        check({"role": role}, {"role": one_of(ROLES)})
        vectors = as_vectors(student_vectors, "student_vectors", self.student_dim)
        return l2_normalize(align(head_for(self.artifact, role), vectors)).numpy()

    def embedder(self, student: Any | None = None) -> AlignedEmbedder:
        """Student and head as one: texts in, vectors in the teacher's space out.

        Args:
            student: the model whose vectors the head takes, see `AlignedEmbedder`; `None` for the one that a head
                from disk was trained with, see `AlignedEmbedder.load`.

        Raises:
            ConfigError: if none is given, and the head was not read from disk.
            ArtifactError: if the head does not tell its student, or it is not the one that it was trained with.
        """
        if student is not None:
            return AlignedEmbedder(self.artifact, student)
        if self.source is None:
            raise ConfigError("this head was just fitted on vectors: give the student that made them")
        return AlignedEmbedder.load(self.source)

    def evaluate(
        self, student_vectors: Any, teacher_vectors: Any, *, corpus: tuple[Any, Any] | None = None,
        qrels: Mapping[int, Mapping[int, float]] | None = None, texts: Sequence[str] | None = None,
        labels: Sequence[Any] | None = None, corpus_texts: Sequence[str] | None = None, seed: int = 0,
    ) -> Report:  # fmt: skip
        """Compare the head with its teacher, the student's own index, ridge regression and the floor.

        Args:
            student_vectors: `(Q, student_dim)` of the queries.
            teacher_vectors: `(Q, teacher_dim)` of the same queries.
            corpus: `(C, student_dim)` and `(C, teacher_dim)` of the texts that are searched; without it each query
                searches the others.
            qrels: with `corpus`: query row → corpus row → grade above 0 for what is relevant.
            texts: the Q queries, for the report and the leak check.
            labels: without `corpus`: Q names; equal ones are relevant to each other.
            corpus_texts: the C texts.
            seed: of samples and intervals.

        Raises:
            DataError: if arrays cannot be used or do not go together.
        """
        origin = Origin(source="arrays", split="given")
        widths = (self.student_dim, self.teacher_dim)
        pairs = as_pairs(student_vectors, teacher_vectors, texts, labels, widths=widths)
        if corpus is None:
            if qrels is not None or corpus_texts is not None:
                raise DataError("qrels and corpus_texts need corpus=(student_vectors, teacher_vectors)")
            test = set_of_pairs(pairs, origin, seed=seed)
        else:
            names = ("corpus[0]", "corpus[1]")
            found = as_pairs(*corpus, texts=corpus_texts, names=names, widths=widths)
            test = EvaluationSet(
                queries=Side(pairs.student, pairs.teacher, pairs.texts),
                corpus=Side(found.student, found.teacher, found.texts),
                itself=np.full(len(pairs), -1),
                qrels=None if qrels is None else _judgements(qrels, (len(pairs), len(found))),
                origin=origin,
            )
        return Report(self._evaluate(test, seed))

    def save(self, folder: str | Path) -> None:
        """Write what `alignkit.load` and every command reads: `head/`, `baselines/` and, of a new head, its report.

        Raises:
            ConfigError: if the folder holds something already.
            AlignkitError: if it cannot be written.
        """
        folder = Path(folder).expanduser()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists already; choose another folder, or remove it first")
        if self.splits is not None and self.report is not None and self.sample is not None:
            save_run(folder, self.artifact, self.baselines, self.splits, self.sample, self.report.result)
            return
        save_artifact(self.artifact, folder / "head")
        save_baselines(folder, self.baselines, self.artifact)
        if self.source is not None and is_distilled(self.artifact.student_identity):
            try:
                shutil.copytree(student_beside(self.artifact, self.source), folder / STUDENT)
            except OSError as error:
                raise refused(folder / STUDENT, error) from None

    def _evaluate(self, test: EvaluationSet, seed: int) -> Result:
        if self.splits is not None:
            leaks = check_against(test.queries, self.splits)
        else:
            leaks = check_leaks(test.queries, self.folder)
        timed = not_timed("no model was called")
        result = compare(
            test, self.artifact, self.baselines, seed=seed, seen=leaks.seen, embedding=timed,
            unlike=self.sample.unlike(test.queries.student) if self.sample is not None else None,
        )  # fmt: skip
        said = {side: one.said for side, one in timed.items()}
        return replace(result, about=About(leaks=leaks.line, timed=said, versions=versions()))


def load(folder: str | Path) -> Fitted:
    """Read a head: what `save` wrote, a run of the `train` command, its `head/`, a bundle, or `hf://user/repo@revision`.

    Raises:
        ArtifactError: if there is no head, or it is damaged.
        HubError: if the Hub refuses.
    """
    folder = head_path(folder)  # once: what an address names may change
    run = run_of(folder)
    return Fitted(
        load_artifact(folder), load_baselines(run), sample=TrainingSample.load(run), folder=run, source=folder
    )


def _judgements(qrels: Mapping[int, Mapping[int, float]], shape: tuple[int, int]) -> Qrels:
    triples = [(query, row, grade) for query, judged in qrels.items() for row, grade in judged.items()]
    queries, rows, grades = zip(*triples, strict=True) if triples else ((), (), ())
    return Qrels.of(queries, rows, grades, shape)
