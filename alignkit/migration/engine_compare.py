"""The same queries in the old vectors and in the new ones, by the engine's own search, before anybody sees the new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import Embedder, join_batches
from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import IndexRows, picked
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.stages import expect_begun
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.metrics.retrieval import Qrels, ndcg_at_k
from alignkit.migration.engine_check import old_and_new
from alignkit.migration.engine_notes import keep, now, read_note
from alignkit.migration.read_back import rows_of_both
from alignkit.searching.half_moved import merged

QUERIES, NEAREST = 200, 10
# so many that ten are left when every other row is taken away
FAR = 4 * NEAREST
Hits = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Ndcg:
    """nDCG@10 by judgements.

    Attributes:
        queries: that are judged.
        old: of the student's queries in the old vectors.
        new: of the same queries through the head, in the new vectors.
        gain: new minus old, paired by query.
        teacher: of the teacher's own queries in the new vectors; `None` where it was not asked.
        half: of student and head while half of the rows are moved; `None` where the new vectors lie elsewhere.
    """

    queries: int
    old: Interval
    new: Interval
    gain: Interval
    teacher: Interval | None = None
    half: Interval | None = None


@dataclass(frozen=True)
class Compared:
    """What searches find in old and new.

    Attributes:
        queries: how many.
        overlap: mean share of a query's ten nearest rows that both find.
        ndcg: `None` without judgements.
        teacher: mean share of the ten rows that the teacher's query finds in the new vectors which the head's finds
            too; `None` where the teacher was not asked.
        half: mean share of the ten nearest by the new vectors that a search of both halves finds while half of the rows
            are moved, by rank as `nearest_in_both` merges them; `None` where the new vectors lie elsewhere.
    """

    queries: int
    overlap: Interval
    ndcg: Ndcg | None = None
    teacher: Interval | None = None
    half: Interval | None = None


def compare_by_rows(index: VectorIndex, seed: int = 0, into: Replacement[VectorIndex] | None = None) -> Compared:
    """Rows of the index as queries, each with its own vector on either side; it does not find itself.

    Args:
        index: while or after it is migrated.
        seed: of the sample, and of the intervals.
        into: where the new vectors lie; `None` for beside the old ones.

    Raises:
        DataError: if there are no new vectors, or too few rows.
    """
    replacement = into or index.replacement()
    expect_begun(replacement.stage(), "compare")
    with old_and_new(index, replacement) as (old, new):
        rows = old.sample(QUERIES, seed)
        before, after = rows_of_both(picked(rows, [row for row in range(len(rows)) if row not in rows.faults]), new)
        found, moved = _nearest(old, before), _nearest(new, after)
        half = None
        if not replacement.elsewhere:
            half = _overlap(moved, _half_moved(found, _nearest(new, after, FAR)), seed)
    return _kept(replacement, Compared(len(before), _overlap(found, moved, seed), half=half))


def compare_by_queries(
    index: VectorIndex,
    aligned: AlignedEmbedder,
    queries: Mapping[str, str],
    judgements: Mapping[str, Mapping[str, int]] | None = None,
    teacher: Embedder | None = None,
    seed: int = 0,
    into: Replacement[VectorIndex] | None = None,
) -> Compared:
    """Real queries: by the student in the old vectors, by student and head in the new, and there by the teacher too.

    Args:
        index: while or after it is migrated.
        aligned: the student with its head.
        queries: id → text.
        judgements: query id → id of a row, as text → grade.
        teacher: is asked for a vector of each query; `None` for nobody.
        seed: of the intervals.
        into: as in `compare_by_rows`.

    Raises:
        DataError: if there are no new vectors, or no judged row is found by any query.
        EmbedderError: if a model has no vector for a query.
    """
    replacement = into or index.replacement()
    expect_begun(replacement.stage(), "compare")
    texts = list(queries.values())
    student = join_batches(aligned.embed_student(texts), len(texts), aligned.artifact.student_dim)
    with old_and_new(index, replacement) as (old, new):
        mapped = aligned.align(student)
        hits: dict[str, Hits] = {"old": old.search(student, NEAREST)[0], "new": new.search(mapped, NEAREST)[0]}
        if not replacement.elsewhere:
            hits["half"] = _half_moved(hits["old"], new.search(mapped, FAR)[0])
        if teacher is not None:
            asked = join_batches(teacher.embed(texts, "query"), len(texts), teacher.dim)
            hits["teacher"] = new.search(unit_rows(asked), NEAREST)[0]
    return _kept(
        replacement,
        Compared(
            queries=len(texts),
            overlap=_overlap(hits["old"], hits["new"], seed),
            ndcg=None if judgements is None else _ndcg(list(queries), hits, judgements, seed),
            teacher=_overlap(hits["teacher"], hits["new"], seed) if "teacher" in hits else None,
            half=_overlap(hits["new"], hits["half"], seed) if "half" in hits else None,
        ),
    )


def _nearest(index: VectorIndex, queries: IndexRows, count: int = NEAREST) -> Hits:
    """What each row finds but for itself."""
    found = index.search(queries.vectors, count + 1)[0] if len(queries) else []
    return [[one for one in hits if str(one) != str(own)][:count] for hits, own in zip(found, queries.ids, strict=True)]


def _half_moved(old: Hits, new: Hits) -> Hits:
    """What would be found while every other row, whichever these are, has no new vector yet."""
    found = []
    for before, after in zip(old, new, strict=True):
        moved = {one for one in (*before, *after) if crc32(str(one).encode()) % 2}
        found.append(merged(before, [one for one in after if one in moved][:NEAREST], moved, NEAREST))
    return found


def _kept(replacement: Replacement[VectorIndex], compared: Compared) -> Compared:
    if (note := read_note(replacement)) is not None:
        keep(replacement, replace(note, compared=now()))
    return compared


def _overlap(old: Hits, new: Hits, seed: int) -> Interval:
    shares = [len({*map(str, one)} & {*map(str, other)}) / len(one) for one, other in zip(old, new, strict=True) if one]
    overlap = PairedBootstrap({"overlap": np.array(shares)}, seed=seed).mean("overlap")
    if overlap is None:
        raise DataError("too few rows have both vectors to search them; write the others with step=copy")
    return overlap


def _ndcg(
    queries: Sequence[str], hits: Mapping[str, Hits], judgements: Mapping[str, Mapping[str, int]], seed: int
) -> Ndcg:
    judged = [(row, *one) for row, query in enumerate(queries) for one in judgements.get(query, {}).items()]
    # engines have ids of many types, a file of judgements only texts
    names = [*(one for _, one, _ in judged), *(str(one) for found in hits.values() for row in found for one in row)]
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    shape = len(queries), max(len(place), 1)
    qrels = Qrels.of(
        [row for row, _, _ in judged], [place[one] for _, one, _ in judged], [grade for *_, grade in judged], shape
    )
    figures = {}
    for name, found in hits.items():
        rows = np.full((len(queries), NEAREST), -1, np.int64)
        for row, one in enumerate(found):
            rows[row, : len(one)] = [place[str(id)] for id in one]
        figures[name] = ndcg_at_k(qrels.judge(rows), NEAREST)
    drawn = PairedBootstrap(figures, seed=seed)
    old, new, gain = drawn.mean("old"), drawn.mean("new"), drawn.difference("new", "old")
    if old is None or new is None or gain is None or not any(np.nansum(one) for one in figures.values()):
        raise DataError(
            "no query finds a row that is judged for it; expected the query-id of the file of queries and, as "
            "corpus-id, the id of a row of the index"
        )
    teacher, half = (drawn.mean(name) if name in figures else None for name in ("teacher", "half"))
    return Ndcg(drawn.count, old, new, gain, teacher, half)
