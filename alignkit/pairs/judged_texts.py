"""What can be measured in a BEIR folder: queries with something to find, and what was left out, in words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignkit.errors import DataError
from alignkit.sentences.beir import BeirSet, read_beir
from alignkit.sentences.normalise import normalise_text

logger = logging.getLogger(__name__)

SHOWN = 3


@dataclass(frozen=True)
class JudgedTexts:
    """Queries, each with a relevant text, and the corpus that they search.

    Attributes:
        corpus: id -> text.
        queries: id -> text.
        judgements: `(query id, corpus id, grade)`.
        itself: query id -> corpus id, for queries that are a text of the corpus and must not find it; one that is
            judged relevant to itself may.
        notes: what was left out, in words.
    """

    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    judgements: list[tuple[str, str, int]]
    itself: Mapping[str, str]
    notes: list[str]


def judged_texts(folder: str | Path, split: str = "test", document: str = "title+text") -> JudgedTexts:
    """Read a folder; judgements of unknown ids and queries without a relevant text are left out and counted.

    Args:
        folder: see `read_beir`.
        split: see `read_beir`.
        document: see `read_beir`.

    Raises:
        ConfigError: see `read_beir`.
        DataError: see `read_beir`; also if the corpus is empty, or nothing is left to judge.
    """
    found = read_beir(folder, split, allow_unknown=True, document=document)
    if not found.corpus_ids:
        raise DataError(f"{Path(folder) / 'corpus.jsonl'}: holds no texts")
    queries = {
        query: text
        for query, text in zip(found.query_ids, found.query_texts, strict=True)
        if any(grade > 0 for grade in found.qrels[query].values())
    }
    notes = []
    if found.unknown_ids:
        first = ", ".join(found.unknown_ids[:SHOWN])
        notes.append(
            f"the judgements name {len(found.unknown_ids):,} ids that are neither queries nor texts; "
            f"they are left out, the first: {first}"
        )
    if not queries:
        raise DataError(
            f"{folder}: no query has a relevant text in corpus.jsonl by qrels/{split}.tsv; do the ids agree?"
        )
    if left_out := found.queries - len(queries):
        notes.append(f"{left_out:,} of {found.queries:,} queries have no relevant text in {split}.tsv and are left out")
    for note in notes:
        logger.warning("%s", note)
    twins = _in_the_corpus(found, queries)
    itself = {query: text for query, text in twins.items() if found.qrels[query].get(text, 0) <= 0}
    if itself:
        notes.append(f"{len(itself):,} queries are texts of the corpus; each is left out of its own hits")
    if judged := len(twins) - len(itself):
        notes.append(
            f"{judged:,} queries are texts of the corpus and judged relevant to themselves; each may find itself"
        )
    return JudgedTexts(
        corpus=dict(zip(found.corpus_ids, found.corpus_texts, strict=True)),
        queries=queries,
        judgements=[(query, one, grade) for query in queries for one, grade in found.qrels[query].items()],
        itself=itself,
        notes=notes,
    )


def _in_the_corpus(found: BeirSet, queries: Mapping[str, str]) -> dict[str, str]:
    # an equal id alone says nothing: many sets count both queries and texts from 1
    parts = dict(zip(found.corpus_ids, found.corpus_parts, strict=True))
    same = {}
    for key, text in queries.items():
        title, body = parts.get(key, ("", ""))
        if key in parts and normalise_text(text) in map(normalise_text, (title, body, f"{title} {body}")):
            same[key] = key
    return same
