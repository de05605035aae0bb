"""What a head is measured on: queries and a corpus with both models' vectors, and what is known to be relevant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.evaluation.alignment import most_sentences
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.retrieval import Judged, Qrels, judge_by_label
from alignkit.pairs.base import Pairs


@dataclass(frozen=True)
class Side:
    """Queries or corpus; row i of every field is the same text.

    Attributes:
        student: `(N, student_dim)`, an array or a memory map.
        teacher: `(N, teacher_dim)`, likewise.
        texts: where they are known.
    """

    student: np.ndarray
    teacher: np.ndarray
    texts: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.student)


@dataclass(frozen=True)
class HumanScores:
    """Pairs of texts that people scored for likeness: rows of the queries `(P,)`, twice, and the scores `(P,)`."""

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class EvaluationSet:
    """Queries against a corpus.

    Attributes:
        queries: Q texts.
        corpus: C texts; the queries themselves where a set has no corpus of its own.
        itself: `(Q,)` corpus row that is the query, which it must not find; -1 for none.
        qrels: judgements, where there are any.
        labels: of the Q queries, where queries are the corpus: equal labels are relevant to each other.
        groups: Q names for the table by group (an intent, a domain).
        human: scores of text pairs, where there are any.
        meta: plain JSON values for the report: `source`, `real`, `split`, identities, and `notes`, a list of what was
            left out and why.
    """

    queries: Side
    corpus: Side
    itself: np.ndarray
    qrels: Qrels | None = None
    labels: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    human: HumanScores | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.corpus) == 0:
            raise DataError("the corpus is empty: nothing can be found in it; check the file that data.path names")
        if len(self.queries) == 0:
            raise DataError("there are no queries to measure with; check the file that data.path names")

    def judge(self, found: np.ndarray) -> Judged | None:
        """Grades of rankings `(Q, K)`; `None` where nothing is known to be relevant."""
        if self.qrels is not None:
            return self.qrels.judge(found)
        if self.labels is not None:
            return judge_by_label(found, self.labels, self.labels, exclude=self.itself)
        return None


def set_of_pairs(pairs: Pairs, meta: Mapping[str, Any], *, most: int | None = None, seed: int = 0) -> EvaluationSet:
    """Every sentence is a query, and the others are the corpus.

    Args:
        pairs: usually a test split.
        meta: as `PairSplits.meta`.
        most: of more sentences, a seeded sample is taken; `None` is 5,000, fewer of wide vectors.
        seed: of the sample.
    """
    rows = sample_rows(len(pairs), most or most_sentences(pairs.teacher_dim), seed).numpy()
    side = Side(
        student=np.asarray(pairs.student[rows]),
        teacher=np.asarray(pairs.teacher[rows]),
        texts=[pairs.texts[row] for row in rows] if pairs.texts is not None else None,
    )
    labels = [pairs.labels[row] for row in rows] if pairs.labels is not None else None
    if labels is not None and len(set(labels)) == len(labels):
        labels = None  # nothing is relevant to anything
    notes = list(meta.get("notes", []))
    if len(rows) < len(pairs):
        notes.append(f"a seeded sample of {len(rows):,} of the {len(pairs):,} sentences")
    if labels is not None:
        notes.append("relevant to a sentence are the others with its label")
    return EvaluationSet(
        queries=side, corpus=side, itself=np.arange(len(rows)), labels=labels, groups=labels,
        meta={**meta, "notes": notes},
    )  # fmt: skip
