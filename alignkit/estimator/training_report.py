"""What `train` leaves when it ends: the head, the baselines it is compared with, and the report of its test split."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from alignkit import __version__
from alignkit.artifact import Artifact, save_artifact
from alignkit.estimator.updating import Update
from alignkit.evaluation.before import Before
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.embedding_time import EmbeddingTime, not_timed
from alignkit.evaluation.result import About, Result
from alignkit.evaluation.split_figures import alignment_row
from alignkit.evaluation.student_record import StudentRecord
from alignkit.evaluation.training_history import TrainingHistory
from alignkit.heads.base import Head
from alignkit.pairs.base import PairSplits
from alignkit.pairs.searched_corpus import set_of_splits
from alignkit.reporting.report_files import write_report
from alignkit.runs.baselines import save_baselines
from alignkit.runs.fingerprints import save_fingerprints
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.runs.table_report import TableReport
from alignkit.runs.training_sample import TrainingSample


def evaluate_training(
    artifact: Artifact,
    baselines: Mapping[str, Head],
    splits: PairSplits,
    sample: TrainingSample,
    *,
    teacher_mean: Tensor,
    leaks: str,
    history: TrainingHistory,
    seed: int = 0,
    embedding: Mapping[str, EmbeddingTime] | None = None,
    before: Before | None = None,
    student: StudentRecord | None = None,
    table: TableReport | None = None,
    device: torch.device | None = None,
) -> Result:
    """Compare the head with its rivals on the test split, and show the training split's figures beside them.

    Args:
        artifact: the head that was trained.
        baselines: `ridge` and `mean`.
        splits: the pairs.
        sample: of the training pairs, which tells whether the test split is like them.
        teacher_mean: `(teacher_dim,)` of the training split.
        leaks: what the leak check said.
        history: how the head was trained.
        seed: of the random projection, samples and bootstrap.
        embedding: what a query costs both models, where they are there to be timed.
        before: the student before it was trained with the head, where it was.
        student: how it was trained.
        table: how it was made out of its teacher, where it was.
        device: where neighbours are searched; `None` is the CPU.
    """
    device = device or torch.device("cpu")
    test = set_of_splits(splits, seed)
    timed = embedding or not_timed("train calls no model; evaluate does")
    on_training = alignment_row(artifact.head, artifact.query_head, splits.train, teacher_mean, seed, device)
    result = compare(
        test,
        artifact,
        baselines,
        seed=seed,
        unlike=sample.unlike(test.queries.student),
        embedding=timed,
        before=before,
        device=device,
    )
    return replace(
        result,
        about=About(
            leaks=leaks,
            timed={side: one.said for side, one in timed.items()},
            versions=versions(),
            training=history,
            pairs={"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
            student=student,
            table=table,
        ),
        other_splits={"train": {result.product.row: on_training}},
    )


def versions() -> dict[str, str]:
    """Of what makes the figures."""
    return {"alignkit": __version__, "torch": torch.__version__, "python": platform.python_version()}


def save_run(
    folder: Path, artifact: Artifact, baselines: Mapping[str, Head], splits: PairSplits, sample: TrainingSample,
    result: Result, *, html: bool = True, update: Update | None = None,
) -> None:  # fmt: skip
    """Write `head/`, `baselines/`, what tells of the pairs, and the report; `metrics.json` last of all.

    Args:
        folder: of the run.
        artifact: the head.
        baselines: its rivals.
        splits: the pairs.
        sample: of the training pairs.
        result: of the test split.
        html: also write `report.html`.
        update: of a run whose pairs the head was fitted on too.
    """
    save_artifact(artifact, folder / "head")
    save_baselines(folder, baselines, artifact)
    held_out = HeldOutSample.of(splits) if update is None else update.held_out(splits)
    if update is None:
        save_fingerprints(folder, splits)
    else:
        forgotten = None if update.forgotten is None else update.forgotten.fingerprints
        save_fingerprints(folder, splits, update.run, forgotten)
    sample.save(folder)
    held_out.save(folder)
    write_report(result, folder, html=html)
