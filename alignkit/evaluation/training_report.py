"""What `train` writes when it ends: figures of the test split beside the training split's, head, baselines, report."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignkit import __version__
from alignkit.artifact import save_head
from alignkit.evaluation.alignment import alignment_rows, mean_head, raw_head, ridge_head
from alignkit.evaluation.tables import COLUMN_MEANINGS, COLUMNS, ROW_MEANINGS, csv_text, json_text, markdown_table
from alignkit.files import write_whole
from alignkit.heads.base import Batches, Head
from alignkit.metrics.alignment import OVERLAP_SENTENCES, SENTENCE_PAIRS, Row
from alignkit.pairs.base import PairSplits


@dataclass(frozen=True)
class TrainingReport:
    """All that is known when training ends.

    Attributes:
        heads: `raw`, `mean`, `ridge`, `aligned`.
        rows: of the test split, by name.
        train_rows: of (a sample of) the training split.
        cosines: `(N,)` of the aligned test vectors.
        meta: plain JSON values.
    """

    heads: Mapping[str, Head]
    rows: Mapping[str, Row]
    train_rows: Mapping[str, Row]
    cosines: Tensor
    meta: Mapping[str, Any]


def build_report(
    head: Head,
    splits: PairSplits,
    solver_batches: tuple[Batches, Batches, Batches],
    teacher_mean: Tensor,
    *,
    seed: int,
    about: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> TrainingReport:
    """Compare the head with its baselines on the test split, and on the training split beside it.

    Args:
        head: the one trained.
        splits: the pairs.
        solver_batches: of train, validation, and both together, for the ridge baseline.
        teacher_mean: `(teacher_dim,)` of the training split.
        seed: of the random projection and the samples.
        about: how the head came about, plain JSON values, for `meta`.
        seconds: by step so far.
    """
    start = time.perf_counter()
    student_dim, teacher_dim = splits.train.student_dim, splits.train.teacher_dim
    heads = {
        "raw": raw_head(student_dim, teacher_dim, seed),
        "mean": mean_head(student_dim, teacher_mean),
        "ridge": ridge_head(*solver_batches, student_dim, teacher_dim),
        "aligned": head,
    }
    rows, cosines = alignment_rows(heads, splits.test, teacher_mean, seed)
    train_rows, _ = alignment_rows({"aligned": head}, splits.train, teacher_mean, seed)
    meta = {
        **splits.meta,
        **about,
        "pairs": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
        "sentence_pairs_for_spearman": SENTENCE_PAIRS,
        "overlap_sentences": min(len(splits.test), OVERLAP_SENTENCES),
        "seed": seed,
        "seconds": {**seconds, "evaluation": time.perf_counter() - start},
        "versions": {"alignkit": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "train_rows": train_rows,
    }
    return TrainingReport(heads, rows, train_rows, cosines, meta)


def save_report(report: TrainingReport, folder: Path) -> None:
    """Write `head/`, `baselines/`, CSV, Markdown, and `metrics.json` last: with it the run is finished."""
    identities = {key: report.meta[key] for key in ("student_identity", "teacher_identity")}
    save_head(report.heads["aligned"], folder / "head", metrics={"rows": report.rows}, meta=report.meta, **identities)
    for name in ("ridge", "mean"):
        save_head(report.heads[name], folder / "baselines" / name, **identities)
    write_whole(
        folder / "alignment_metrics.csv", csv_text({"test": report.rows, "train": report.train_rows}), "utf-8-sig"
    )
    write_whole(folder / "alignment_report.md", markdown(report))
    write_whole(folder / "metrics.json", json_text(report.rows, report.meta))


def markdown(report: TrainingReport) -> str:
    """The report in words: what the data is, the table, what rows and columns mean, how it came about."""
    meta = report.meta
    pairs = meta["pairs"]
    parts = [
        "# Alignment report",
        f"Data: {meta['source']}. {pairs['train']:,} training, {pairs['validation']:,} validation and "
        f"{pairs['test']:,} test pairs; split: {meta['split']}.",
        "## Test split",
        markdown_table(report.rows),
        f"overlap@10 is over {meta['overlap_sentences']:,} test sentences.",
        "## Training split, for comparison",
        markdown_table(report.train_rows),
        "A training row far above the test row means that the head learnt sentences by heart: more pairs, or a simpler "
        "head, would help.",
        "## Rows",
        "\n".join(f"- `{name}`: {ROW_MEANINGS[name]}" for name in report.rows),
        "## Columns",
        "\n".join(f"- {heading} (`{key}`): {COLUMN_MEANINGS[key]}" for key, heading in COLUMNS.items()),
        "## How it came about",
        "\n".join(f"- {line}" for line in _history(meta)),
    ]
    return "\n\n".join(parts) + "\n"


def _history(meta: Mapping[str, Any]) -> list[str]:
    epoch = meta["best_epoch"]
    kept = "the starting point: no epoch improved on it" if epoch == 0 else f"epoch {epoch}"
    again = ", then fitted once more on train + validation" if meta["refitted"] else ""
    chosen = ", ".join(f"{name} = {value}" for name, value in meta["chosen"].items()) or "nothing"
    recipe = ", ".join(f"{name} {value}" for name, value in meta["recipe"].items() if value is not None)
    return [
        f"head: {meta['model']}; chosen on validation: {chosen}",
        f"kept: {kept}{again}",
        f"recipe: {recipe}",
        f"student: {_embedder(meta['student_identity'])}",
        f"teacher: {_embedder(meta['teacher_identity'])}",
        f"device: {meta['device']}",
        "seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in meta["seconds"].items()),
        f"seed {meta['seed']}; " + ", ".join(f"{name} {version}" for name, version in meta["versions"].items()),
    ]


def _embedder(identity: Mapping[str, Any] | None) -> str:
    if identity is None:
        return "bare vectors, what made them is not known"
    return ", ".join(f"{name} {value}" for name, value in identity.items() if value not in (None, ""))
