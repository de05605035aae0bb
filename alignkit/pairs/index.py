"""`data=index`: rows of a vector index, which are texts with the teacher's vectors; the student's through the cache."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import ConfigError, DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows
from alignkit.pairs.base import MIN_PAIRS, Identity, Origin, Pairs, PairSplits
from alignkit.pairs.cached_sides import CachedSides, check_role
from alignkit.pairs.extra import with_extra
from alignkit.pairs.index_judgements import Judgements, read_judgements, with_judged
from alignkit.pairs.index_parts import cut_of, documents_of, queries_of, query_id, usable_rows
from alignkit.pairs.openings import OPENING_WEIGHT
from alignkit.pairs.row_sentences import SENTENCE_WEIGHT
from alignkit.pairs.short_texts import LEAST_BUDGET, opening_pairs, sentence_pairs
from alignkit.pairs.views import take_pairs
from alignkit.sentences.splits import merge_equal_texts, split_groups
from alignkit.sentences.text_fields import CORPUS, FieldRows, TextsIn, fields_of_file
from alignkit.setting_rules import check, one_of, whole

logger = logging.getLogger(__name__)

DOCUMENT, QUERY = "document", "query"
UNITS = ("document", "sentence")
# with a tenth of a small index as queries, an interval is wider than what it should tell apart: 140 documents of
# Cranfield give cascade@69 90.0% to 94.4% of the teacher's overlap@10
TEST_SHARE, ENOUGH_TEST, MOST_OF_SMALL = 0.1, 200, 0.2


def load_index(
    index: VectorIndex | None,
    student: Embedder | None,
    teacher: Embedder,
    cache_dir: str = "cache",
    sample: int | None = 20_000,
    queries: str | None = None,
    qrels: str | None = None,
    units: str = "document",
    budget: int = 3_000,
    student_live: bool = True,
    role: Role = "document",
    validation: float = 0.1,
    test: float | None = None,
    seed: int = 0,
) -> PairSplits:
    """Pairs of an index's own rows, each of which serves as a query. Only `units="sentence"` calls the teacher.

    The openings of the documents to fit on are pairs too, with the vectors of their documents: queries are as short,
    and a head that has seen only whole documents does not place short texts well. What is measured searches all rows
    that were read.

    Args:
        index: opened with a field of texts; closed at the end.
        student: embeds what the cache lacks, unless `student_live` is False; `None` gives the teacher's side alone.
        teacher: only its settings are looked at, and only for `queries`, unless it is asked for sentences.
        cache_dir: folder of the vector cache.
        sample: rows that are drawn from all over the index; `None` takes them all.
        queries: a file of real queries, which are pairs too; the teacher's vectors of them come from the cache.
        qrels: a file that says which rows are relevant to which of the queries. Those that it judges are measured on
            alone, and the rows that it names are read beside the sample.
        units: `sentence`: the teacher is also asked for sentences of the rows to fit on, which are as short as queries.
        budget: most texts that it is asked for; what the cache holds is not asked for again.
        student_live: False: the student's vectors too come from the cache only.
        role: whose prompt the student gives the rows' texts.
        validation: share of the rows.
        test: likewise; `None` takes a tenth, of a small index 200 rows, and at most a fifth.
        seed: of the sample and of the split; equal texts (but for case and punctuation) stay together.

    Raises:
        ConfigError: if no index is given, or a setting cannot be used.
        DataError: if the index has no texts, too few rows can be used, its vectors are not as wide as the queries', or
            the judgements are of other queries or rows.
        MissingVectorsError: if the cache lacks vectors of the queries, or of a student that may not be asked.
        EmbedderError: if the student has to be asked and cannot.
    """
    rules = {"sample": whole(MIN_PAIRS).or_null("which takes all rows"), "units": one_of(UNITS)}
    check({"sample": sample, "units": units, "budget": budget}, {**rules, "budget": whole(LEAST_BUDGET)}, "data")
    check_role(role)
    if index is None:
        raise ConfigError(
            "data=index: no index is given; name one: index=parquet index.path=docs.parquet index.text=body"
        )
    if qrels is not None and queries is None:
        raise ConfigError("data.qrels: judges queries, and none are given; name their file: data.queries=")
    judgements = read_judgements(qrels) if qrels is not None else {}
    try:
        with index:
            described = index.describe()
            sampled = rows = index.sample(described.rows if sample is None else sample, seed)
            if judgements:
                rows = with_judged(index, sampled, judgements)
        usable = usable_rows(rows, described.place, {name for judged in judgements.values() for name in judged})
        with VectorCache(cache_dir) as cache:
            stored = CachedSides(cache, student, teacher, Path(cache_dir), role, student_live)
            found = documents_of(stored, rows, usable.rows)
            documents, parts = _distinct(found.pairs), [found]
            if len(documents) < MIN_PAIRS:
                raise DataError(
                    f"{described.place}: {len(documents)} different texts with a usable vector, expected at least "
                    f"{MIN_PAIRS}"
                )
            asked = CachedSides(cache, student, teacher, Path(cache_dir), "query", student_live)
            if queries is not None:
                parts.append(queries_of(asked, queries, documents, described.place, judgements))
            real = None if queries is None else parts[1].pairs
            share = _test_share(len(documents)) if test is None else test
            splits = _split(documents, real, {query_id(name) for name in judgements}, seed, validation, share)
            splits = replace(splits, corpus=found.pairs, qrels=_judged(judgements, splits.test, found.pairs, qrels))
            short = _short_texts(asked, stored, splits, documents, budget if units == "sentence" else None, seed)
    finally:
        for side in (student, teacher):
            if side is not None:
                side.close()
    of_all = f"a sample of {len(sampled):,} of its {described.rows:,} rows"
    read = of_all if len(sampled) < described.rows else "all rows"
    more = f" and the {len(rows) - len(sampled):,} others that are judged" if len(rows) > len(sampled) else ""
    beside = f", and {len(real):,} queries of {Path(queries or '').name}" if real is not None else ""
    learnt_from = QUERY in (splits.train.groups or ())
    stand_in = "the rows' own texts serve as queries" + (", beside real ones" if learnt_from else "")
    origin = Origin(
        source=f"{described.place}: {read}{more}, the teacher's vectors as they are stored{beside}",
        split="seeded shares of the rows, equal texts together" + ("; judged queries are test" if judgements else ""),
        student_identity=found.student_identity,
        teacher_identity=parts[-1].teacher_identity or short.teacher_identity,
        notes=(*usable.notes, stand_in, *short.notes),
        sentences=len(rows),
        repetitions=len(rows) - len(usable.firsts) - usable.left_out,
        quarantined=dict(sum((Counter(part.quarantined) for part in parts), Counter())),
        cut=cut_of(parts),
        documents_for_queries=not learnt_from,
        fields=_fields(rows, described.place, queries),
    )
    splits = replace(splits, origin=origin)
    for pairs, weight in short.parts:
        splits = with_extra(splits, pairs, weight)
    return splits


@dataclass(frozen=True)
class _ShortTexts:
    """Pairs to fit on beside the documents, each part with what one of them counts; and what is said of them."""

    parts: list[tuple[Pairs, float]]
    notes: list[str]
    teacher_identity: Identity | None = None


def _short_texts(
    asked: CachedSides, stored: CachedSides, splits: PairSplits, documents: Pairs, budget: int | None, seed: int
) -> _ShortTexts:
    """Openings of the documents in the training split and, within a budget, their sentences."""
    rows = set(documents.ids)
    own = take_pairs(splits.train, np.flatnonzero([name in rows for name in splits.train.ids]))
    known = [text for part in splits.parts for text in part.texts or ()]
    begun, parts, notes = opening_pairs(asked, own, known), [], []
    if begun is not None:
        parts.append((begun, OPENING_WEIGHT))
        notes.append(f"fitted also on the openings of {len(begun):,} rows, each for {OPENING_WEIGHT:g}")
    if budget is None:
        return _ShortTexts(parts, notes)
    found = sentence_pairs(asked, own, known, budget=budget, seed=seed, stored=stored)
    parts.append((found.pairs, SENTENCE_WEIGHT))
    notes.append(
        f"fitted also on {len(found.pairs):,} sentences of the rows, each for {SENTENCE_WEIGHT:g}, which took "
        f"{found.calls:,} calls of the teacher (data.budget={budget})"
    )
    return _ShortTexts(parts, notes, found.teacher_identity)


def _fields(rows: IndexRows, place: str, queries: str | None) -> tuple[FieldRows, ...]:
    """What the queries' file says of them, and what was read with the rows."""
    found = [] if queries is None else [fields_of_file(queries)]
    if any(rows.payload):
        # the text last: a field of that name is another
        whole = [{**fields, "text": text} for fields, text in zip(rows.payload, rows.texts or (), strict=True)]
        found.append(FieldRows(f"{place}, index.payload", CORPUS, TextsIn(), whole))
    return tuple(found)


def _test_share(rows: int) -> float:
    """A tenth; of fewer than 2,000 rows what makes 200, at most a fifth.

    >>> _test_share(20_000), _test_share(1_000), _test_share(100)
    (0.1, 0.2, 0.2)
    """
    return min(MOST_OF_SMALL, max(TEST_SHARE, ENOUGH_TEST / rows))


def _distinct(pairs: Pairs) -> Pairs:
    """Of rows with the same text the first."""
    first_with = {text: row for row, text in reversed(list(enumerate(pairs.texts or ())))}
    return pairs if len(first_with) == len(pairs) else take_pairs(pairs, np.sort([*first_with.values()]))


def _split(
    documents: Pairs, real: Pairs | None, judged: set[str], seed: int, validation: float, test: float
) -> PairSplits:
    """Seeded shares of the rows, equal texts together; queries that are judged are in the test split, all of them."""
    parts = [documents]
    if real is not None:
        mine = np.array([name in judged for name in real.ids], dtype=bool)
        parts += [take_pairs(real, np.flatnonzero(~mine)), take_pairs(real, np.flatnonzero(mine))]
    pairs = _joined(parts)
    free = len(pairs) - (len(parts[2]) if real is not None else 0)
    dealt = split_groups(merge_equal_texts((pairs.texts or ())[:free]), seed=seed, validation=validation, test=test)
    train, held_out, tested = (take_pairs(pairs, some) for some in (*dealt[:2], np.r_[dealt[2], free : len(pairs)]))
    return PairSplits(train=train, validation=held_out, test=tested)


def _joined(parts: list[Pairs]) -> Pairs:
    """All pairs; with real queries among them, figures are told apart by kind."""
    if len(parts) == 1:
        return parts[0]
    return Pairs(
        ids=[one for part in parts for one in part.ids],
        student=np.concatenate([np.asarray(part.student[:]) for part in parts]),
        teacher=np.concatenate([np.asarray(part.teacher[:]) for part in parts]),
        texts=[text for part in parts for text in part.texts or ()],
        groups=[kind for kind, part in zip((DOCUMENT, QUERY, QUERY), parts, strict=True) for _ in part.ids],
    )


def _judged(
    judgements: Judgements, test: Pairs, corpus: Pairs, path: str | None
) -> Mapping[str, Mapping[str, int]] | None:
    """The judgements of the test split's queries, by their names there."""
    if not judgements:
        return None
    named = {query_id(name): judged for name, judged in judgements.items()}
    found = {name: named[name] for name in test.ids if name in named}
    if not found:
        raise DataError(f"{path}: judges none of the queries of data.queries; do the ids agree?")
    stored = set(corpus.ids)
    if not any(name in stored for judged in found.values() for name in judged):
        first = next(iter(next(iter(found.values()))))
        raise DataError(
            f"{path}: judges no row of the index, whose ids are like {corpus.ids[0]!r}, not {first!r}; name the column "
            "that holds the judged ids: index.id="
        )
    if len(found) < len(named):
        logger.warning(
            "%s: %s of %s judged queries are not among the queries, or are texts of the index; they are left out",
            path, f"{len(named) - len(found):,}", f"{len(named):,}",
        )  # fmt: skip
    return found
