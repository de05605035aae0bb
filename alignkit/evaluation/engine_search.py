"""What a head finds in a real index through the engine's own search, which may lose something, beside an exact one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.artifact import Artifact
from alignkit.evaluation.aligning import align
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.exact import exact_search, unit_rows
from alignkit.indexes.query_lengths import query_length
from alignkit.metrics.retrieval import Qrels, ndcg_at_k
from alignkit.pairs.base import Pairs

NEAREST = 10
# below this nDCG@10 of the teacher, judgements are of other rows
FINDS_NOTHING = 0.05

Hits = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Found:
    """One figure of the four searches, each a mean over the queries in [0, 1].

    Attributes:
        head: by the head's queries through the engine.
        head_exact: by the head's queries in an exact search.
        teacher: by the teacher's own queries through the engine.
        teacher_exact: likewise in an exact search.
    """

    head: float
    head_exact: float
    teacher: float
    teacher_exact: float


@dataclass(frozen=True)
class EngineSearch:
    """What is found in the whole index.

    Attributes:
        place: of the index.
        queries: that searched.
        rows: of the index.
        nearest: the share of the teacher's ten nearest rows, by an exact search, that is found.
        ndcg: nDCG@10 by judgements, where there are any.
        note: see `QueryLength`.
    """

    place: str
    queries: int
    rows: int
    nearest: Found
    ndcg: Found | None = None
    note: str | None = None

    def words(self) -> list[str]:
        """One line for each figure."""
        near = self.nearest
        said = [
            f"in all {self.rows:,} rows of {self.place}, {self.queries:,} test queries find {near.head:.1%} of the "
            f"teacher's {NEAREST} nearest rows through the engine's own search, {near.head_exact:.1%} by an exact one; "
            f"the teacher's own queries find {near.teacher:.1%} through the engine"
        ]
        if (judged := self.ndcg) is not None:
            said.append(
                f"nDCG@{NEAREST} there, of the head and of the teacher: "
                f"{_beside(judged.head, judged.teacher)} through the engine's own search, "
                f"{_beside(judged.head_exact, judged.teacher_exact)} by an exact one"
            )
            if judged.teacher_exact < FINDS_NOTHING:
                said.append(
                    "the teacher itself finds hardly anything that is judged relevant: do the judged ids name these "
                    "rows? index.id= says which column does"
                )
        return said if self.note is None else [*said, self.note]


def search_engine(
    index: VectorIndex, queries: Pairs, artifact: Artifact, qrels: Mapping[str, Mapping[str, int]] | None = None
) -> EngineSearch:
    """Search the whole index; a text of the index does not find itself.

    Args:
        index: open.
        queries: their ids are those of the index's rows, as text, where they are rows of it.
        artifact: the head.
        qrels: id of each query → id of a row, as text → grade.
    """
    teacher = np.asarray(queries.teacher[:], dtype=np.float32)
    length = query_length(index)
    aligned = unit_rows(align(artifact.query_head, np.asarray(queries.student[:])).numpy()) * np.float32(length.value)
    exact = exact_search(index, np.concatenate([teacher, aligned]), NEAREST + 1)[0]  # the whole index is read, once
    found: dict[str, Hits] = {"teacher_exact": exact[: len(queries)], "head_exact": exact[len(queries) :]}
    for name, vectors in (("head", aligned), ("teacher", teacher)):
        found[name] = index.search(vectors, NEAREST + 1)[0]
    hits = {name: _without_itself(own, queries.ids) for name, own in found.items()}
    described = index.describe()
    return EngineSearch(
        place=described.place,
        queries=len(queries),
        rows=described.rows,
        nearest=Found(**{name: _overlap(own, hits["teacher_exact"]) for name, own in hits.items()}),
        ndcg=None if qrels is None else Found(**_ndcg(hits, queries.ids, qrels)),
        note=length.note,
    )


def _beside(head: float, teacher: float) -> str:
    return f"{head:.3f} and {teacher:.3f}" + (f" ({head / teacher:.1%})" if teacher else "")


def _without_itself(found: Hits, ids: Sequence[str]) -> list[list[str]]:
    return [[str(one) for one in hits if str(one) != own][:NEAREST] for hits, own in zip(found, ids, strict=True)]


def _overlap(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> float:
    shares = [len({*hits} & {*right}) / len(right) for hits, right in zip(found, wanted, strict=True) if right]
    return float(np.mean(shares)) if shares else 0.0


def _ndcg(
    found: Mapping[str, Sequence[Sequence[str]]], ids: Sequence[str], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """Mean nDCG@10 of each search; rows that are judged and not in the index are found by nobody."""
    number: dict[str, int] = {}
    judged = [
        (row, number.setdefault(name, len(number)), grade)
        for row, query in enumerate(ids)
        for name, grade in qrels[query].items()
    ]
    query_rows, names, grades = zip(*judged, strict=True)
    known = Qrels.of(query_rows, names, grades, (len(ids), len(number) + 1))
    figures = {}
    for search, hits in found.items():
        rows = np.full((len(ids), NEAREST), -1, dtype=np.int64)
        for query, one in enumerate(hits):
            rows[query, : len(one)] = [number.get(name, len(number)) for name in one]
        figures[search] = float(np.nanmean(ndcg_at_k(known.judge(rows), NEAREST)))
    return figures
