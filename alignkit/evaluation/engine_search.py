"""What a head finds in a real index through the engine's own search, which may lose something, beside an exact one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.artifact import Artifact
from alignkit.evaluation.aligning import align
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.exact import exact_search
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs

MOST_QUERIES, NEAREST = 1_000, 10


@dataclass(frozen=True)
class EngineSearch:
    """Shares of the teacher's ten nearest rows, by an exact search of the whole index, that are found.

    Attributes:
        place: of the index.
        queries: that searched.
        rows: of the index.
        head: by the head's queries through the engine.
        head_exact: by the head's queries in an exact search.
        teacher: by the teacher's own queries through the engine.
    """

    place: str
    queries: int
    rows: int
    head: float
    head_exact: float
    teacher: float

    def words(self) -> str:
        """In one line."""
        return (
            f"in all {self.rows:,} rows of {self.place}, {self.queries:,} test queries find {self.head:.1%} of the "
            f"teacher's {NEAREST} nearest rows through the engine's own search, {self.head_exact:.1%} by an exact one; "
            f"the teacher's own queries find {self.teacher:.1%} through the engine"
        )


def search_engine(index: VectorIndex, test: Pairs, artifact: Artifact, seed: int = 0) -> EngineSearch:
    """Search the whole index with test pairs; a text of the index does not find itself.

    Args:
        index: open.
        test: their ids are those of the index's rows, as text.
        artifact: the head.
        seed: of the sample of at most 1,000 queries.
    """
    rows = sample_rows(len(test), MOST_QUERIES, seed).numpy()
    ids = [test.ids[row] for row in rows]
    teacher = np.asarray(test.teacher[rows], dtype=np.float32)
    aligned = align(artifact.query_head, np.asarray(test.student[rows])).numpy()
    exact = exact_search(index, np.concatenate([teacher, aligned]), NEAREST + 1)[0]  # the whole index is read, once
    wanted, head_exact = exact[: len(rows)], exact[len(rows) :]
    head, teachers = (index.search(vectors, NEAREST + 1)[0] for vectors in (aligned, teacher))
    described = index.describe()
    return EngineSearch(
        place=described.place,
        queries=len(rows),
        rows=described.rows,
        head=_overlap(head, wanted, ids),
        head_exact=_overlap(head_exact, wanted, ids),
        teacher=_overlap(teachers, wanted, ids),
    )


def _overlap(found: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]], ids: Sequence[str]) -> float:
    shares = []
    for hits, right, own in zip(found, wanted, ids, strict=True):
        best = [one for one in right if str(one) != own][:NEAREST]
        if best:
            shares.append(len({*best} & {*[one for one in hits if str(one) != own][:NEAREST]}) / len(best))
    return float(np.mean(shares)) if shares else 0.0
