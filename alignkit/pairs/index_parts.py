"""Texts of an index and real queries for it, with both models' vectors."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.cache import KeyedTexts
from alignkit.errors import DataError
from alignkit.indexes.index_rows import IndexRows
from alignkit.pairs.base import Cut, Identity, Pairs, no_student
from alignkit.pairs.cached_sides import CachedSides, as_array
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.records import Sentence
from alignkit.sentences.sentence_files import read_sentences

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Texts of one kind with both vectors.

    Attributes:
        pairs: N texts with their ids and vectors.
        student_identity: of the model that made the student's vectors; `None` without one.
        teacher_identity: of the teacher's; `None` where the vectors do not say.
        quarantined: side → texts that it has no vector of.
        cut: side → what its model did not read to the end.
    """

    pairs: Pairs
    student_identity: Identity | None
    teacher_identity: Identity | None
    quarantined: Mapping[str, int]
    cut: Mapping[str, Cut]


@dataclass(frozen=True)
class UsableRows:
    """Rows with a usable vector and a text.

    Attributes:
        rows: positions, ascending: of each text the first that has it, and of the judged rows all.
        firsts: those of `rows`, as places in it, that are the first with their text.
        left_out: how many cannot be used.
        notes: which, in words.
    """

    rows: np.ndarray
    firsts: np.ndarray
    left_out: int
    notes: list[str]


def usable_rows(rows: IndexRows, place: str, judged: Collection[str] = ()) -> UsableRows:
    """Look through the rows; what is left out is logged too.

    Args:
        rows: of an index.
        place: how messages call it.
        judged: ids of rows that are judged, which are kept though another has the same text.

    Raises:
        DataError: if they were read without texts.
    """
    if rows.texts is None:
        raise DataError(
            f"{place}: is read without texts, which the student has to embed; name their column: index.text="
        )
    notes = []
    if rows.faults:
        first, why = next(iter(rows.faults.items()))
        notes.append(
            f"{len(rows.faults):,} of {len(rows):,} rows have no usable vector and are left out; the first: "
            f"{rows.ids[first]} ({why})"
        )
    if blank := [row for row, text in enumerate(rows.texts) if not text.strip() and row not in rows.faults]:
        notes.append(
            f"{len(blank):,} of {len(rows):,} rows have no text and are left out; the first: {rows.ids[blank[0]]}"
        )
    for note in notes:
        logger.warning("%s: %s", place, note)
    seen, kept, firsts = set[str](), list[int](), list[int]()
    for row, text in enumerate(rows.texts):
        if not text.strip() or row in rows.faults:
            continue
        if text not in seen:
            firsts.append(len(kept))
        elif str(rows.ids[row]) not in judged:
            continue
        seen.add(text)
        kept.append(row)
    left_out = len(rows.faults) + len(blank)
    return UsableRows(np.array(kept, np.int64), np.array(firsts, np.int64), left_out, notes)


def documents_of(sides: CachedSides, rows: IndexRows, at: np.ndarray) -> Part:
    """Some of the rows, as far as the student has a vector of them.

    Args:
        sides: the student, and the cache.
        rows: of the index, with texts.
        at: `(N,)` positions.
    """
    texts = [(rows.texts or [])[row] for row in at]
    if sides.student is None or not texts:
        pairs = Pairs([str(rows.ids[row]) for row in at], no_student(len(at)), rows.vectors[at], texts)
        return Part(pairs, None, None, {}, {})
    found = sides.students(KeyedTexts(texts))
    at = at[found.rows]
    return Part(
        pairs=Pairs(
            ids=[str(rows.ids[row]) for row in at],
            student=as_array(sides.cache.vectors_of(found.identity, found.texts)),
            teacher=rows.vectors[at],
            texts=list(found.texts),
        ),
        student_identity=found.identity,
        teacher_identity=None,
        quarantined={"student": found.quarantined},
        cut={"student": sides.cut(found.identity, found.texts)},
    )


def queries_of(sides: CachedSides, path: str, documents: Pairs, place: str, judged: Collection[str] = ()) -> Part:
    """Real queries with both vectors, none of them a text of the index.

    Args:
        sides: both models, and the cache.
        path: a file of sentences.
        documents: of the index.
        place: how messages call the index.
        judged: ids of queries that are judged.

    Returns:
        Distinct queries; of those that are judged all, since equal ones may be judged otherwise.

    Raises:
        DataError: if there are none, or their vectors are of another width than the index's.
        MissingVectorsError: if the cache lacks vectors.
    """
    known = {normalise_text(text) for text in documents.texts or ()}
    read = [one for one in read_sentences(path) if one.text.strip()]
    distinct = dict[str, Sentence]()
    for one in sorted(read, key=lambda one: one.id not in judged):
        if (name := normalise_text(one.text)) not in known:
            distinct.setdefault(name, one)
    names = [normalise_text(one.text) for one in read]
    sentences = [
        one
        for one, name in zip(read, names, strict=True)
        if name in distinct and (one.id in judged or distinct[name] is one)
    ]
    if not sentences:
        raise DataError(f"{path}: holds no query that is not a text of the index")
    both = sides.both(sentences)
    student, teacher = both.arrays(sides.cache, np.arange(len(both.sentences)))
    if teacher.shape[1] != documents.teacher_dim:
        raise DataError(
            f"{place}: holds {documents.teacher_dim}-d vectors, the teacher's of {path} are {teacher.shape[1]}-d; "
            "name the model that made the index: teacher="
        )
    return Part(
        pairs=Pairs([query_id(one.id) for one in both.sentences], student, teacher, list(both.texts)),
        student_identity=both.student_identity,
        teacher_identity=both.teacher_identity,
        quarantined=both.quarantined,
        cut=both.cut,
    )


def query_id(name: str) -> str:
    """How a query is told from a row of the index that has the same id.

    >>> query_id("7")
    'query 7'
    """
    return f"query {name}"


def cut_of(parts: Sequence[Part]) -> dict[str, Cut]:
    """Of all parts together."""
    return {
        side: Cut(sum(part.cut[side].sentences for part in parts if side in part.cut), cut.context)
        for side, cut in parts[0].cut.items()
    }
