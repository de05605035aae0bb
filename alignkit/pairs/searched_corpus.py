"""The test split as something to search with: among its own sentences, or in the corpus that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.evaluation_set import EvaluationSet, Side, most_sentences, set_of_pairs
from alignkit.pairs.views import take_pairs

# of documents, in a corpus that is larger than these: more would hardly narrow an interval
MOST_QUERIES = 1_000
# from so many on, real queries search alone: documents are not what the head will be asked
ENOUGH_QUERIES = 30


def set_of_splits(splits: PairSplits, seed: int = 0) -> EvaluationSet:
    """What a head is measured on.

    Args:
        splits: without a corpus, the test sentences search each other.
        seed: of the sample, where there are more test sentences than are needed.
    """
    if splits.corpus is None:
        return set_of_pairs(splits.test, splits.origin, seed=seed)
    asked, corpus = searching(splits, seed), splits.corpus
    row_of = {name: row for row, name in enumerate(corpus.ids)}
    itself = np.array([row_of.get(name, -1) for name in asked.ids], dtype=np.int64)
    known = asked.groups is not None and len(set(asked.groups)) > 1
    notes = [f"{len(asked):,} {_what(splits, itself)} search all {len(corpus):,} rows that were read"]
    if splits.qrels is not None:
        notes += _unknown(splits.qrels, row_of)
    return EvaluationSet(
        queries=_side(asked),
        corpus=_side(corpus),
        itself=itself,
        qrels=None if splits.qrels is None else _qrels(splits.qrels, asked, row_of),
        groups=asked.groups if known else None,
        origin=replace(splits.origin, notes=(*splits.origin.notes, *notes)),
    )


def searching(splits: PairSplits, seed: int = 0) -> Pairs:
    """The test sentences that search the corpus: those that are judged, else real queries if they are enough, else all.

    Args:
        splits: with a corpus.
        seed: of the sample.
    """
    test, stored = splits.test, set((splits.corpus or splits.test).ids)
    rows = np.arange(len(test))
    real = np.array([row for row, name in enumerate(test.ids) if name not in stored], dtype=np.int64)
    most = min(MOST_QUERIES, most_sentences(test.teacher_dim))
    if splits.qrels is not None:
        rows, most = (
            np.array([row for row, name in enumerate(test.ids) if name in splits.qrels], dtype=np.int64),
            len(rows),
        )
    elif len(real) >= ENOUGH_QUERIES:
        rows = real
    return take_pairs(test, rows[sample_rows(len(rows), most, seed).numpy()])


def _what(splits: PairSplits, itself: np.ndarray) -> str:
    if splits.qrels is not None:
        return "judged queries"
    if (itself >= 0).all():
        return "test rows"
    return "test queries" if (itself < 0).all() else "test rows and queries"


def _side(pairs: Pairs) -> Side:
    return Side(student=np.asarray(pairs.student[:]), teacher=pairs.teacher[:], texts=pairs.texts)


def _qrels(qrels: Mapping[str, Mapping[str, int]], asked: Pairs, row_of: Mapping[str, int]) -> Qrels:
    """Rows behind the corpus stand for what is not in it: nobody finds them."""
    unknown = dict.fromkeys(name for judged in qrels.values() for name in judged if name not in row_of)
    place = {**row_of, **{name: len(row_of) + more for more, name in enumerate(unknown)}}
    judged = [(row, place[name], grade) for row, query in enumerate(asked.ids) for name, grade in qrels[query].items()]
    queries, rows, grades = zip(*judged, strict=True)
    return Qrels.of(queries, rows, grades, (len(asked), len(place)))


def _unknown(qrels: Mapping[str, Mapping[str, int]], row_of: Mapping[str, int]) -> list[str]:
    relevant = {name for judged in qrels.values() for name, grade in judged.items() if grade > 0}
    unknown = relevant - row_of.keys()
    if not unknown:
        return []
    return [
        f"not in the index, or not usable there: {len(unknown):,} of {len(relevant):,} rows that are judged relevant, "
        f"which count as not found; the first: {min(unknown)}"
    ]
