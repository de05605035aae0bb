"""`data=index`: rows of a vector index, which are texts with the teacher's vectors; the student's through the cache."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alignkit.cache import KeyedTexts, VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import ConfigError, DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows
from alignkit.pairs.base import MIN_PAIRS, Cut, Identity, MissingVectorsError, Origin, Pairs, PairSplits, no_student
from alignkit.pairs.cached_sides import CachedSides, as_array, check_role
from alignkit.pairs.extra import with_extra
from alignkit.pairs.openings import OPENING_WEIGHT, openings
from alignkit.pairs.views import take_pairs
from alignkit.sentences.sentence_files import read_sentences
from alignkit.sentences.splits import merge_equal_texts, split_groups
from alignkit.setting_rules import check, whole

logger = logging.getLogger(__name__)

DOCUMENT, QUERY = "document", "query"


@dataclass(frozen=True)
class _Part:
    """Texts of one kind with both vectors.

    Attributes:
        ids: N names.
        texts: N texts, distinct.
        student: `(N, student_dim)`.
        teacher: `(N, teacher_dim)`.
        student_identity: of the model that made the student's vectors; `None` without one.
        teacher_identity: of the teacher's; `None` where the vectors do not say.
        quarantined: side → texts that it has no vector of.
        cut: side → what its model did not read to the end.
    """

    ids: list[str]
    texts: list[str]
    student: np.ndarray
    teacher: np.ndarray
    student_identity: Identity | None
    teacher_identity: Identity | None
    quarantined: dict[str, int]
    cut: dict[str, Cut]


def load_index(
    index: VectorIndex | None,
    student: Embedder | None,
    teacher: Embedder,
    cache_dir: str = "cache",
    sample: int | None = 20_000,
    queries: str | None = None,
    student_live: bool = True,
    role: Role = "document",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> PairSplits:
    """Pairs of an index's own rows, each of which serves as a query. The teacher is never called.

    The openings of the documents to fit on are pairs too, with the vectors of their documents: queries are as short,
    and a head that has seen only whole documents does not place short texts well.

    Args:
        index: opened with a field of texts; closed at the end.
        student: embeds what the cache lacks, unless `student_live` is False; `None` gives the teacher's side alone.
        teacher: only its settings are looked at, and only for `queries`.
        cache_dir: folder of the vector cache.
        sample: rows that are drawn from all over the index; `None` takes them all.
        queries: a file of real queries, which are pairs too; the teacher's vectors of them come from the cache.
        student_live: False: the student's vectors too come from the cache only.
        role: whose prompt the student gives the rows' texts.
        validation: share of the rows.
        test: likewise.
        seed: of the sample and of the split; equal texts (but for case and punctuation) stay together.

    Raises:
        ConfigError: if no index is given, or a setting cannot be used.
        DataError: if the index has no texts, too few rows can be used, or its vectors are not as wide as the queries'.
        MissingVectorsError: if the cache lacks vectors of the queries, or of a student that may not be asked.
        EmbedderError: if the student has to be asked and cannot.
    """
    check({"sample": sample}, {"sample": whole(MIN_PAIRS).or_null("which takes all rows")}, "data")
    check_role(role)
    if index is None:
        raise ConfigError(
            "data=index: no index is given; name one: index=parquet index.path=docs.parquet index.text=body"
        )
    try:
        with index:
            described = index.describe()
            rows = index.sample(described.rows if sample is None else sample, seed)
        texts, notes = _usable(rows, described.place)
        with VectorCache(cache_dir) as cache:
            documents = _embedded(
                CachedSides(cache, student, teacher, Path(cache_dir), role, student_live), rows, texts
            )
            asked = CachedSides(cache, student, teacher, Path(cache_dir), "query", student_live)
            parts = [documents]
            if queries is not None:
                parts.append(_queries(asked, queries, documents, described.place))
            if len(documents.ids) < MIN_PAIRS:
                raise DataError(
                    f"{described.place}: {len(documents.ids)} different texts with a usable vector, expected at least "
                    f"{MIN_PAIRS}"
                )
            splits = _split(_joined(parts), seed, validation, test)
            begun = _openings(asked, splits, {*documents.texts})
    finally:
        for side in (student, teacher):
            if side is not None:
                side.close()
    sampled = f"a sample of {len(rows):,} of its {described.rows:,} rows" if len(rows) < described.rows else "all rows"
    real = f", and {len(parts[1].ids):,} queries of {Path(queries).name}" if queries is not None else ""
    said = (
        () if begun is None else (f"fitted also on the openings of {len(begun):,} rows, each for {OPENING_WEIGHT:g}",)
    )
    origin = Origin(
        source=f"{described.place}: {sampled}, the teacher's vectors as they are stored{real}",
        split="seeded shares of the rows, equal texts together",
        student_identity=documents.student_identity,
        teacher_identity=parts[-1].teacher_identity,
        notes=(*notes, "the rows' own texts serve as queries" + (", beside real ones" if real else ""), *said),
        sentences=len(rows),
        repetitions=len(rows) - len(texts) - _left_out(rows),
        quarantined=dict(sum((Counter(part.quarantined) for part in parts), Counter())),
        cut=_cut_of(parts),
        documents_for_queries=queries is None,
    )
    splits = replace(splits, origin=origin)
    return splits if begun is None else with_extra(splits, begun, OPENING_WEIGHT)


def _split(pairs: Pairs, seed: int, validation: float, test: float) -> PairSplits:
    """Seeded shares of the rows, equal texts together."""
    rows = split_groups(merge_equal_texts(pairs.texts or ()), seed=seed, validation=validation, test=test)
    train, held_out, tested = (take_pairs(pairs, some) for some in rows)
    return PairSplits(train=train, validation=held_out, test=tested)


def _usable(rows: IndexRows, place: str) -> tuple[dict[str, int], list[str]]:
    """Each distinct text that has a usable vector, with the first row that holds it; and what is left out, in words."""
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
    first_with: dict[str, int] = {}
    for row, text in enumerate(rows.texts):
        if text.strip() and row not in rows.faults:
            first_with.setdefault(text, row)
    return first_with, notes


def _left_out(rows: IndexRows) -> int:
    return sum(row in rows.faults or not text.strip() for row, text in enumerate(rows.texts or ()))


def _embedded(sides: CachedSides, rows: IndexRows, first_with: dict[str, int]) -> _Part:
    """The rows that the student has a vector of."""
    texts, at = list(first_with), np.fromiter(first_with.values(), np.int64, len(first_with))
    if sides.student is None or not texts:
        return _Part(
            [str(rows.ids[row]) for row in at], texts, no_student(len(at)), rows.vectors[at], None, None, {}, {}
        )
    found = sides.students(KeyedTexts(texts))
    at = at[found.rows]
    return _Part(
        ids=[str(rows.ids[row]) for row in at],
        texts=list(found.texts),
        student=as_array(sides.cache.vectors_of(found.identity, found.texts)),
        teacher=rows.vectors[at],
        student_identity=found.identity,
        teacher_identity=None,
        quarantined={"student": found.quarantined},
        cut={"student": sides.cut(found.identity, found.texts)},
    )


def _queries(sides: CachedSides, path: str, documents: _Part, place: str) -> _Part:
    """Real queries with both vectors, none of them a text of the index."""
    known = set(documents.texts)
    sentences = {one.text: one for one in reversed(read_sentences(path)) if one.text.strip() and one.text not in known}
    if not sentences:
        raise DataError(f"{path}: holds no query that is not a text of the index")
    both = sides.both(list(sentences.values())[::-1])
    student, teacher = both.arrays(sides.cache, np.arange(len(both.sentences)))
    if teacher.shape[1] != documents.teacher.shape[1]:
        raise DataError(
            f"{place}: holds {documents.teacher.shape[1]}-d vectors, the teacher's of {path} are {teacher.shape[1]}-d; "
            "name the model that made the index: teacher="
        )
    return _Part(
        ids=[f"query {one.id}" for one in both.sentences],
        texts=list(both.texts),
        student=student,
        teacher=teacher,
        student_identity=both.student_identity,
        teacher_identity=both.teacher_identity,
        quarantined=both.quarantined,
        cut=both.cut,
    )


def _openings(sides: CachedSides, splits: PairSplits, documents: set[str]) -> Pairs | None:
    """How the documents to fit on begin, with their vectors; `None` where nothing short stands for them."""
    train = splits.train
    held_out = [text for part in (splits.validation, splits.test) for text in part.texts or ()]
    rows = [row for row, text in enumerate(train.texts or ()) if text in documents]
    begun = openings([train.texts[row] for row in rows], [*(train.texts or ()), *held_out]) if train.texts else {}
    if sides.student is None or not begun:
        return None
    try:
        found = sides.students(KeyedTexts(list(begun)))
    except MissingVectorsError:
        if sides.live:
            raise
        logger.info("the cache lacks the student's vectors of the documents' openings, which are left out")
        return None
    at = np.array([rows[row] for row in begun.values()], dtype=np.int64)[found.rows]
    return Pairs(
        ids=[f"opening of {train.ids[row]}" for row in at],
        student=as_array(sides.cache.vectors_of(found.identity, found.texts)),
        teacher=np.asarray(train.teacher[at]),
        texts=list(found.texts),
    )


def _joined(parts: Sequence[_Part]) -> Pairs:
    """All pairs; with real queries among them, figures are told apart by kind."""
    kinds = [kind for kind, part in zip((DOCUMENT, QUERY), parts, strict=False) for _ in part.ids]
    return Pairs(
        ids=[one for part in parts for one in part.ids],
        student=np.concatenate([part.student for part in parts]) if len(parts) > 1 else parts[0].student,
        teacher=np.concatenate([part.teacher for part in parts]) if len(parts) > 1 else parts[0].teacher,
        texts=[text for part in parts for text in part.texts],
        groups=kinds if len(parts) > 1 else None,
    )


def _cut_of(parts: Sequence[_Part]) -> dict[str, Cut]:
    """Of all parts together."""
    return {
        side: Cut(sum(part.cut[side].sentences for part in parts if side in part.cut), cut.context)
        for side, cut in parts[0].cut.items()
    }
