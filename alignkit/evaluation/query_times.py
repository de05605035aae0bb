"""What one query costs: embedding it, where its model runs; the head and the search, on the CPU; each on its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName, Times
from alignkit.heads.base import Head
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.pairs.unit_rows import unit_rows
from alignkit.vectors import l2_normalize

HEAD_RUNS, SEARCH_RUNS = 50, 15
# a larger corpus is timed on this many rows and scaled: a search by scanning costs the same for every row
SEARCHED_ROWS = 20_000


def query_times(
    test: EvaluationSet, heads: Mapping[RowName, Head], embed_ms: Mapping[str, float | None],
    product: Product = HEAD_ALONE, models_mb: Mapping[str, float | None] | None = None,
) -> dict[RowName, Times]:  # fmt: skip
    """Median times of one query at a time, in milliseconds, for every row of the table.

    Args:
        test: its vectors are searched.
        heads: of the product, and of the other rows those that are maps of the student's vector.
        embed_ms: of `student` and `teacher`, as far as they were timed (`embedding_times`).
        product: the rows of the student and the head.
        models_mb: likewise what these weigh; without it no row has a size.
    """
    embed_student, embed_teacher = embed_ms.get("student"), embed_ms.get("teacher")
    # an index holds vectors of length 1: that they were made so is not part of a query's time
    search_teacher = _search_ms(test.queries.teacher, test.corpus.teacher[:SEARCHED_ROWS], len(test.corpus))
    search_student = _search_ms(test.queries.student, unit_rows(test.corpus.student[:SEARCHED_ROWS]), len(test.corpus))
    head_ms = {name: _head_ms(head, test.queries.student) for name, head in heads.items()}
    mb = models_mb or {}
    head_mb = {name: head.cost()["parameters"] * 4 / 1e6 for name, head in heads.items()}
    through_head = {
        name: Times(embed_student, taken, search_teacher, _together(mb.get("student"), head_mb[name]))
        for name, taken in head_ms.items()
    }
    served = through_head[product.row]
    return {
        RowName.TEACHER: Times(embed_teacher, 0.0, search_teacher, mb.get("teacher")),
        product.own_index: Times(embed_student, 0.0, search_student, mb.get("student")),
        **through_head,
        product.plain: served,  # its head is of the same size
        product.both: served,
        RowName.CASCADE: Times(
            _together(embed_student, embed_teacher),
            served.head_ms,
            search_teacher,
            _together(served.models_mb, mb.get("teacher")),
        ),  # fmt: skip
    }


def _together(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def times_before(
    test: EvaluationSet, head: Head, embed_ms: float | None, models_mb: float | None = None
) -> dict[RowName, Times]:
    """The same of the student before it was trained, through the head alone and in its own index.

    Args:
        test: with that student's vectors.
        head: the head alone.
        embed_ms: of that student.
        models_mb: likewise.
    """
    heads = {RowName.ALIGNED: head}
    times = query_times(test, heads, {"student": embed_ms}, models_mb={"student": models_mb})
    return {name: times[name] for name in (RowName.ALIGNED, RowName.ALIGNED_PLAIN, RowName.STUDENT)}


def _head_ms(head: Head, student: np.ndarray) -> float:
    query = torch.from_numpy(np.array(student[:1], dtype=np.float32))
    with torch.inference_mode():
        head(query)
        return median_ms([lambda: head(query)] * HEAD_RUNS)


def _search_ms(queries: np.ndarray, rows: np.ndarray, corpus_rows: int) -> float:
    index = torch.from_numpy(np.asarray(rows))
    query = torch.from_numpy(np.array(queries[:1], dtype=np.float32))[0]

    def search() -> None:
        torch.topk(index @ l2_normalize(query), min(10, len(index)))

    search()
    return median_ms([search] * SEARCH_RUNS) * corpus_rows / len(index)


def median_ms(calls: Sequence[Callable[[], object]]) -> float:
    """Median time of these calls, each made once, in milliseconds."""
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
