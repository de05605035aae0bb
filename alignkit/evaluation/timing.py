"""What one query costs on the CPU: embedding it, the head, the search, each on its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from alignkit.embedders.base import Embedder, embed_all
from alignkit.evaluation.sets import EvaluationSet
from alignkit.heads.base import Head
from alignkit.vectors import l2_normalize

HEAD_RUNS, SEARCH_RUNS, EMBED_RUNS = 50, 15, 15
# a larger corpus is timed on this many rows and scaled: a search by scanning costs the same for every row
SEARCHED_ROWS = 20_000

Times = dict[str, float | None]


def query_times(
    test: EvaluationSet, heads: Mapping[str, Head], cascade: str, embedders: Mapping[str, Embedder] | None = None
) -> dict[str, Times]:
    """Median times of one query at a time, in milliseconds, for every row of the table.

    Args:
        test: its vectors are searched, its texts embedded.
        heads: `aligned` and, where it was kept, `ridge`.
        cascade: name of the row that also asks the teacher.
        embedders: `student` and `teacher`, live ones; what is missing has no embedding time.

    Returns:
        Row → `embed_ms`, `head_ms`, `search_ms`, and `total_ms`, which is `None` where one of them is not known.
    """
    texts = list(test.queries.texts or [])[:EMBED_RUNS]
    embed = {
        name: _embed_ms(embedders[name], texts) if embedders and name in embedders and texts else None
        for name in ("student", "teacher")
    }
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


def _embed_ms(embedder: Embedder, texts: Sequence[str]) -> float:
    embed_all(embedder, texts[:1], "query")  # the first call may load the model
    return _median_ms([lambda text=text: embed_all(embedder, [text], "query") for text in texts])  # type: ignore[misc]


def _head_ms(head: Head, student: np.ndarray) -> float:
    query = torch.from_numpy(np.array(student[:1], dtype=np.float32))
    with torch.inference_mode():
        head(query)
        return _median_ms([lambda: head(query)] * HEAD_RUNS)


def _search_ms(queries: np.ndarray, corpus: np.ndarray) -> float:
    # an index holds normalised float32 vectors: that it was made is not part of a query's time
    rows = min(len(corpus), SEARCHED_ROWS)
    index = l2_normalize(torch.from_numpy(np.array(corpus[:rows], dtype=np.float32)))
    query = torch.from_numpy(np.array(queries[:1], dtype=np.float32))[0]

    def search() -> None:
        torch.topk(index @ l2_normalize(query), min(10, rows))

    search()
    return _median_ms([search] * SEARCH_RUNS) * len(corpus) / rows


def _median_ms(calls: Sequence[Callable[[], object]]) -> float:
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
