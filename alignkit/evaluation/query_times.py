"""What one query costs: embedding it, where its model runs; the head and the search, on the CPU; each on its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from alignkit.heads.base import Head
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import l2_normalize

HEAD_RUNS, SEARCH_RUNS = 50, 15
# a larger corpus is timed on this many rows and scaled: a search by scanning costs the same for every row
SEARCHED_ROWS = 20_000

Times = dict[str, float | None]


def query_times(
    test: EvaluationSet, heads: Mapping[str, Head], cascade: str, embed_ms: Mapping[str, float | None] | None = None
) -> dict[str, Times]:
    """Median times of one query at a time, in milliseconds, for every row of the table.

    Args:
        test: its vectors are searched.
        heads: `aligned`, and of the other rows those that are maps of the student's vector.
        cascade: name of the row that also asks the teacher.
        embed_ms: of `student` and `teacher`, as far as they were timed (`embedding_times`).

    Returns:
        Row → `embed_ms`, `head_ms`, `search_ms`, and `total_ms`, which is `None` where one of them is not known.
    """
    embed = {name: (embed_ms or {}).get(name) for name in ("student", "teacher")}
    head = {name: _head_ms(part, test.queries.student) for name, part in heads.items()}
    search = {
        "teacher": _search_ms(test.queries.teacher, test.corpus.teacher),
        "student": _search_ms(test.queries.student, test.corpus.student),
    }
    times = {
        "teacher": _times(embed["teacher"], 0.0, search["teacher"]),
        "student": _times(embed["student"], 0.0, search["student"]),
    }
    for name, milliseconds in head.items():
        times[name] = _times(embed["student"], milliseconds, search["teacher"])
    times["aligned_both"] = times["aligned"]
    both = None if None in embed.values() else sum(value or 0.0 for value in embed.values())
    times[cascade] = _times(both, head["aligned"], search["teacher"])
    return times


def _times(embed_ms: float | None, head_ms: float, search_ms: float) -> Times:
    total = None if embed_ms is None else embed_ms + head_ms + search_ms
    return {"embed_ms": embed_ms, "head_ms": head_ms, "search_ms": search_ms, "total_ms": total}


def _head_ms(head: Head, student: np.ndarray) -> float:
    query = torch.from_numpy(np.array(student[:1], dtype=np.float32))
    with torch.inference_mode():
        head(query)
        return median_ms([lambda: head(query)] * HEAD_RUNS)


def _search_ms(queries: np.ndarray, corpus: np.ndarray) -> float:
    # an index holds normalised float32 vectors: that it was made is not part of a query's time
    rows = min(len(corpus), SEARCHED_ROWS)
    index = l2_normalize(torch.from_numpy(np.array(corpus[:rows], dtype=np.float32)))
    query = torch.from_numpy(np.array(queries[:1], dtype=np.float32))[0]

    def search() -> None:
        torch.topk(index @ l2_normalize(query), min(10, rows))

    search()
    return median_ms([search] * SEARCH_RUNS) * len(corpus) / rows


def median_ms(calls: Sequence[Callable[[], object]]) -> float:
    """Median time of these calls, each made once, in milliseconds."""
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
