"""How unlike the training sentences live queries are, told by the student alone: no teacher is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import RowsInOrder
from alignkit.errors import EmbedderError
from alignkit.heads.local_mixture import nearest_means
from alignkit.metrics.alignment import sample_rows
from alignkit.progress import progress
from alignkit.runs.fingerprints import WORD_FINGERPRINTS, training_fingerprints, word_fingerprints
from alignkit.runs.training_sample import TrainingSample
from alignkit.runs.training_tokens import TRAINING_TOKENS, new_tokens, token_table
from alignkit.sentences.normalise import words
from alignkit.vectors import l2_normalize
from alignkit.watching.live_queries import LiveQueries

# of more queries a sample is read, a few seconds for a small transformer
MOST_READ = 5_000
CLUSTERS, FEWEST_OF_CLUSTER, EXAMPLES = 8, 25, 3


@dataclass(frozen=True)
class Group:
    """Some queries: all of them, those of a day, or a cluster.

    Attributes:
        name: the day, or the cluster's number.
        queries: how many.
        far: share of them farther from training than 99% of the sentences held out from it; `None` where that is not
            known.
        confidence: mean of what the head says of itself, likewise.
        new_words: share of their words that no training sentence had, likewise.
        new_tokens: share of their tokens, likewise; only of a student that is a table of tokens.
        examples: texts.
    """

    name: str
    queries: int
    far: float | None
    confidence: float | None
    new_words: float | None
    new_tokens: float | None = None
    examples: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "examples": list(self.examples)}


@dataclass(frozen=True)
class Unlikeness:
    """Of Q queries.

    Attributes:
        all: of all together.
        days: in order of time, those without one last.
        clusters: those with most far queries first.
    """

    all: Group
    days: tuple[Group, ...]
    clusters: tuple[Group, ...]

    def to_json(self) -> dict[str, Any]:
        """As `meta.watch.unlikeness` has it."""
        groups = {name: [one.to_json() for one in getattr(self, name)] for name in ("days", "clusters")}
        return {"all": self.all.to_json(), **groups}


def unlikeness_of(queries: LiveQueries, aligned: AlignedEmbedder, run: Path | None, seed: int = 0) -> Unlikeness:
    """Embed the queries, or a sample of 5,000, and count what is unlike training, by day and by cluster.

    Args:
        queries: N.
        aligned: whose student embeds them.
        run: what tells of the training; `None` for a bare head, of which only the confidence is known.
        seed: of the sample and the clusters.

    Raises:
        EmbedderError: if the student has a vector for none of them.
    """
    some = queries.take(sample_rows(len(queries), MOST_READ, seed).tolist())
    rows = RowsInOrder(len(some), aligned.artifact.student_dim)
    with progress("student", "texts") as counted:
        counted.begin(len(some))
        for batch in aligned.embed_student(some.texts):
            rows.put(batch)
            counted.advance(len(batch.indices) + len(batch.failures))
    student, failures = rows.all()
    if len(failures) == len(some):
        raise EmbedderError(f"no query has a vector by the student; the first: {failures[0]}")
    kept = [row for row in range(len(some)) if row not in failures]
    sample = TrainingSample.load(run)
    return _counted(
        some.take(kept),
        student[kept],
        None if sample is None else sample.far(student[kept]),
        aligned.confidence(student[kept]),
        _unseen(some.take(kept).texts, aligned, run),
        seed,
    )


def _counted(
    queries: LiveQueries,
    student: np.ndarray,
    far: np.ndarray | None,
    confidence: np.ndarray | None,
    unseen: Mapping[str, np.ndarray],
    seed: int,
) -> Unlikeness:
    def share(of: str, rows: np.ndarray) -> float | None:
        counts = unseen.get(of)
        return None if counts is None else float(counts[rows, 0].sum() / max(counts[rows, 1].sum(), 1))

    def group(name: str, rows: np.ndarray, examples: Sequence[int] = ()) -> Group:
        return Group(
            name=name,
            queries=len(rows),
            far=None if far is None else float(far[rows].mean()),
            confidence=None if confidence is None else float(confidence[rows].mean()),
            new_words=share("words", rows),
            new_tokens=share("tokens", rows),
            examples=tuple(queries.texts[row] for row in examples),
        )

    everything = np.arange(len(queries))
    by_day: dict[str, list[int]] = {}
    for row in everything.tolist():
        by_day.setdefault(str(queries.day(row) or ""), []).append(row)
    days = [group(day or "no time", np.array(by_day[day])) for day in sorted(by_day, key=lambda day: (not day, day))]
    members = _clusters(student, seed)
    members.sort(key=lambda rows: (0 if far is None else -int(far[rows].sum()), -len(rows)))
    clusters = [
        group(str(number), rows, _examples(queries.texts, rows, far)) for number, rows in enumerate(members, start=1)
    ]
    return Unlikeness(group("all", everything), tuple(days), tuple(clusters))


def _unseen(texts: Sequence[str], aligned: AlignedEmbedder, run: Path | None) -> dict[str, np.ndarray]:
    """`(N, 2)` for words and for tokens, as far as they are known: those of each text that are new, and all."""
    found: dict[str, np.ndarray] = {}
    if (known := training_fingerprints(run, WORD_FINGERPRINTS)) is not None:
        found["words"] = _new_words(texts, known)
    table, seen = token_table(aligned.student), training_fingerprints(run, TRAINING_TOKENS)
    if table is not None and seen is not None:
        found["tokens"] = new_tokens(table, texts, seen)
    return found


def _new_words(texts: Sequence[str], known: np.ndarray) -> np.ndarray:
    """`(N, 2)`: words of each text that are not known, and all its words."""
    found = [words(text) for text in texts]
    distinct = sorted({word for of_text in found for word in of_text})
    is_new = dict(zip(distinct, ~np.isin(word_fingerprints(distinct), known), strict=True)) if distinct else {}
    return np.array([(sum(bool(is_new[word]) for word in one), len(one)) for one in found], dtype=np.int64)


def _clusters(student: np.ndarray, seed: int) -> list[np.ndarray]:
    """The rows of each cluster, those nearest its middle first."""
    count = min(CLUSTERS, len(student) // FEWEST_OF_CLUSTER)
    if count < 1:
        return []
    rows = torch.from_numpy(np.asarray(student, dtype=np.float32))
    unit = l2_normalize(rows - rows.mean(dim=0))
    middles = nearest_means(unit, count, seed)
    distance, nearest = (part.numpy() for part in torch.cdist(unit, middles).min(dim=1))
    members = [np.flatnonzero(nearest == number) for number in range(count)]
    return [rows[np.argsort(distance[rows], kind="stable")] for rows in members if len(rows)]


def _examples(texts: Sequence[str], rows: np.ndarray, far: np.ndarray | None) -> list[int]:
    """Rows of different texts: those that are far from training first, in the order that they are given in."""
    ordered = rows if far is None else rows[np.argsort(~far[rows], kind="stable")]
    chosen: dict[str, int] = {}
    for row in ordered.tolist():
        chosen.setdefault(" ".join(texts[row].split()).lower(), row)
        if len(chosen) == EXAMPLES:
            break
    return list(chosen.values())
