"""Test sets that people have as text: BEIR folders and scored pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.files import Row, read_rows, text_of
from alignkit.sentences.normalise import normalise_text

logger = logging.getLogger(__name__)

DOCUMENTS = ("title+text", "title", "text")
SHOWN = 3


@dataclass(frozen=True)
class BeirTexts:
    """A folder in BEIR's layout, less what cannot be used.

    Attributes:
        corpus: id → text, the title before it.
        queries: id → text, of the queries that have a judgement.
        judgements: `(query id, corpus id, grade)`.
        itself: query id → corpus id, for queries that are a text of the corpus.
        notes: what was left out, in words.
    """

    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    judgements: list[tuple[str, str, float]]
    itself: Mapping[str, str]
    notes: list[str]


def read_beir(folder: str | Path, split: str = "test", document: str = "title+text") -> BeirTexts:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.

    Judgements of unknown ids and queries without a relevant text are left out and counted.

    Args:
        folder: of the set.
        split: which file in `qrels/`.
        document: what of a corpus row is searched: `title+text`, `title` (the questions of a FAQ) or `text`.

    Raises:
        ConfigError: for another `document`.
        DataError: if a file is missing or broken, the corpus is empty, or nothing is left to judge.
    """
    if document not in DOCUMENTS:
        raise ConfigError(f"data.document={document}: expected one of {', '.join(DOCUMENTS)}")
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataError(f"data.path={folder}: no such folder; expected corpus.jsonl, queries.jsonl and qrels/ in it")
    corpus_parts = {key: (row.get("title") or "", text) for key, row, text in _records(folder / "corpus.jsonl")}
    corpus = {key: _document(*parts, document) for key, parts in corpus_parts.items()}
    queries = {key: text for key, _, text in _records(folder / "queries.jsonl")}
    if not corpus:
        raise DataError(f"{folder / 'corpus.jsonl'}: holds no texts")
    qrels = folder / "qrels" / f"{split}.tsv"
    if not qrels.is_file():
        there = ", ".join(sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))) or "none"
        raise DataError(f"{qrels}: no such file; splits there: {there}; choose one with data.split=")
    judgements, notes = _judgements(qrels, queries, corpus)
    judged = {query for query, _, grade in judgements if grade > 0}
    if not judged:
        raise DataError(f"{qrels}: no query of queries.jsonl has a relevant text in corpus.jsonl; do the ids agree?")
    if left_out := len(queries) - len(judged):
        notes.append(f"{left_out:,} of {len(queries):,} queries have no relevant text in {qrels.name} and are left out")
    for note in notes:
        logger.warning("%s", note)
    kept = {key: text for key, text in queries.items() if key in judged}
    # an equal id alone says nothing: many sets count both queries and texts from 1
    itself = {
        key: key
        for key, text in kept.items()
        if key in corpus
        and normalise_text(text) in {normalise_text(part) for part in (*corpus_parts[key], corpus[key])}
    }
    if itself:
        notes.append(f"{len(itself):,} queries are texts of the corpus; each is left out of its own hits")
    return BeirTexts(corpus, kept, [one for one in judgements if one[0] in judged], itself, notes)


def _document(title: str, text: str, document: str) -> str:
    # a row without a title is searched by its text whatever was asked for
    return {"title": title or text, "text": text}.get(document, f"{title} {text}".strip())


def _judgements(
    path: Path, queries: Mapping[str, str], corpus: Mapping[str, str]
) -> tuple[list[tuple[str, str, float]], list[str]]:
    """Judgements of known ids, and a note about the others."""
    judgements, unknown = [], []
    for line, row in read_rows(path, ("query-id", "corpus-id", "score")):
        query, document = str(row["query-id"]), str(row["corpus-id"])
        grade = _number(row["score"], path, line)
        if query in queries and document in corpus:
            judgements.append((query, document, grade))
        else:
            unknown.append(query if query not in queries else document)
    if not unknown:
        return judgements, []
    first = ", ".join(list(dict.fromkeys(unknown))[:SHOWN])
    return judgements, [f"{len(unknown):,} judgements name unknown ids and are left out, the first: {first}"]


def read_scored_pairs(
    path: str | Path, first: str = "sentence1", second: str = "sentence2", score: str = "score"
) -> list[tuple[str, str, float]]:
    """Read `(text, text, score)` from a file of rows.

    Args:
        path: `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        first: column of one text.
        second: column of the other.
        score: column of the score; higher is more alike.

    Raises:
        DataError: if the file is missing or broken, or has no pairs.
    """
    path = Path(path).expanduser()
    pairs = [
        (text_of(row, first, path, line), text_of(row, second, path, line), _number(row[score], path, line))
        for line, row in read_rows(path, (first, second, score))
    ]
    if not pairs:
        raise DataError(f"{path}: holds no pairs")
    return pairs


def _records(path: Path) -> list[tuple[str, Row, str]]:
    seen: set[str] = set()
    records = []
    for line, row in read_rows(path, ("_id", "text")):
        key = str(row["_id"])
        if key in seen:
            raise DataError(f"{path}, line {line}: _id {key!r} stands twice")
        seen.add(key)
        records.append((key, row, text_of(row, "text", path, line)))
    return records


def _number(value: object, path: Path, line: int) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise DataError(f"{path}, line {line}: expected a number as score, got {value!r}") from None
