"""What a head is measured on: queries and a corpus with both models' vectors, and what is known to be relevant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignkit.errors import DataError
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.retrieval import Judged, Qrels, judge_by_label
from alignkit.pairs.base import Origin, Pairs
from alignkit.pairs.unit_rows import unit_rows

# a table needs a few copies of its vectors at once: this many numbers in one, and this many sentences; more would
# hardly change a figure
MOST_ELEMENTS, MOST_SENTENCES = 8 * 1024 * 1024, 5_000
# groups up to this size are sampled whole
WHOLE_GROUP = 10


@dataclass(frozen=True)
class Side:
    """Queries or corpus; row i of every field is the same text.

    Attributes:
        student: `(N, student_dim)`, an array or a memory map; as the embedder gave it, for heads see its length.
        teacher: `(N, teacher_dim)` float32, rows of length 1. Vectors of any length and float type may be given: they
            are scaled here, where they enter, and nowhere else.
        texts: where they are known.
    """

    student: np.ndarray
    teacher: np.ndarray
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "teacher", unit_rows(self.teacher))

    def __len__(self) -> int:
        return len(self.student)


@dataclass(frozen=True)
class HumanScores:
    """Pairs of texts that people scored for likeness: rows of the queries `(P,)`, twice, and the scores `(P,)`."""

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Grouping:
    """Queries in groups that were asked for.

    Attributes:
        field: by which.
        rows: name of a group → its queries, ascending; a query may be in several.
    """

    field: str
    rows: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class EvaluationSet:
    """Queries against a corpus.

    Attributes:
        queries: Q texts.
        corpus: C texts; the queries themselves where a set has no corpus of its own.
        itself: `(Q,)` corpus row that is the query, which it must not find; -1 for none.
        qrels: judgements, where there are any.
        labels: of the Q queries, where queries are the corpus: texts of one label are relevant to each other, and do
            not count as independent.
        groups: Q names for the table by group (a domain, an intent).
        grouping: the groups of that table where a field was asked for, see `pairs.query_groups`.
        human: scores of text pairs, where there are any.
        origin: where it came from, and what was left out and why.
    """

    queries: Side
    corpus: Side
    itself: np.ndarray
    qrels: Qrels | None = None
    labels: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    grouping: Grouping | None = None
    human: HumanScores | None = None
    origin: Origin = Origin()

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


def set_of_pairs(pairs: Pairs, origin: Origin, *, most: int | None = None, seed: int = 0) -> EvaluationSet:
    """Every sentence is a query, and the others are the corpus.

    Args:
        pairs: usually a test split.
        origin: of the pairs.
        most: where there are more sentences, a seeded sample is taken, by group if they have labels; `None` is 5,000,
            or fewer for wide vectors.
        seed: of the sample.
    """
    labels = pairs.labels
    if labels is not None and len(set(labels)) == len(labels):
        labels = None  # nothing is relevant to anything
    most = most or most_sentences(pairs.teacher_dim)
    rows = sample_groups(labels, most, seed) if labels is not None else sample_rows(len(pairs), most, seed).numpy()
    side = Side(
        student=np.asarray(pairs.student[rows]),
        teacher=pairs.teacher[rows],
        texts=_take(pairs.texts, rows),
    )
    notes = list(origin.notes)
    if len(rows) < len(pairs):
        together = ", equal labels together" if labels is not None else ""
        notes.append(f"a seeded sample of {len(rows):,} of the {len(pairs):,} sentences{together}")
    labels = _take(labels, rows)
    if labels is not None:
        notes.append("the texts relevant to a sentence are the others with its label")
        sizes = Counter(labels)
        if alone := sum(size == 1 for size in sizes.values()):
            notes.append(
                f"{alone:,} of {len(rows):,} sentences are the only ones with their label: they can be found, but are "
                "not judged as queries"
            )
    groups = _take(pairs.groups, rows) if pairs.groups is not None else labels
    if groups is not None and len(set(groups)) == 1:
        groups = None  # a table of one row says what the others say
    return EvaluationSet(
        queries=side, corpus=side, itself=np.arange(len(rows)), labels=labels, groups=groups,
        origin=replace(origin, notes=tuple(notes)),
    )  # fmt: skip


def most_sentences(teacher_dim: int) -> int:
    """How many sentences a table is made of: 5,000, fewer for wide vectors."""
    return max(1, min(MOST_SENTENCES, MOST_ELEMENTS // teacher_dim))


def sample_groups(labels: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Rows of a seeded sample that takes groups whole, so that what is relevant to a sentence stays beside it.

    Groups that are too large for all to be there are thinned first, to at least 10 sentences each.

    Args:
        labels: N names, equal within a group.
        most: bound on the rows; a single group of at most 10 may exceed it.
        seed: of the sample.

    Returns:
        Ascending int64, all N where there are no more than `most`.

    >>> sample_groups(["a", "b", "a", "b", "c", "c"], most=4, seed=0).tolist()
    [0, 1, 2, 3]
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    code_of: dict[str, int] = {}
    codes = np.array([code_of.setdefault(label, len(code_of)) for label in labels])
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    shuffled = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sizes = np.bincount(codes)
    place_in_group = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = max(WHOLE_GROUP, most // len(sizes))
    thinned = shuffled[place_in_group < each]
    order = generator.permutation(len(sizes))
    together = np.cumsum(np.minimum(sizes, each)[order])
    kept = order[: max(1, np.searchsorted(together, most, side="right"))]
    return np.sort(thinned[np.isin(codes[thinned], kept)])


def _take(names: Sequence[str] | None, rows: np.ndarray) -> list[str] | None:
    return None if names is None else [names[row] for row in rows]
