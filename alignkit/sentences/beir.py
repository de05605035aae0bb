"""Read a BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv` (Thakur et al., arXiv:2104.08663)."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alignkit.errors import DataError
from alignkit.sentences.labels import is_missing
from alignkit.sentences.sentence_files import read_rows, text_of
from alignkit.sentences.text_fields import CORPUS, QUERIES, FieldRows, Row, TextsIn
from alignkit.setting_rules import check, one_of

CORPUS_FILE, QUERIES_FILE = "corpus.jsonl", "queries.jsonl"
DOCUMENTS = ("title+text", "title", "text")


@dataclass(frozen=True)
class BeirSet:
    """A retrieval set.

    Attributes:
        corpus_ids: D document ids, distinct.
        corpus_texts: D texts, the requested part of each document.
        corpus_parts: D pairs of title ("" if none) and text.
        query_ids: Q ids of the queries judged in the split, in file order.
        query_texts: Q texts.
        qrels: query id -> document id -> grade (an integer; above 0 is relevant).
        queries: number of queries, judged or not.
        unknown_ids: ids that appear only in the qrels; empty unless allowed.
    """

    corpus_ids: list[str]
    corpus_texts: list[str]
    corpus_parts: list[tuple[str, str]]
    query_ids: list[str]
    query_texts: list[str]
    qrels: Mapping[str, Mapping[str, int]]
    queries: int
    unknown_ids: tuple[str, ...] = ()


def read_beir(
    folder: str | Path, split: str | None = "test", allow_unknown: bool = False, document: str = "title+text"
) -> BeirSet:
    """Read one split.

    Args:
        folder: with `corpus.jsonl`, `queries.jsonl` and `qrels/`.
        split: name of the file in `qrels/`; None takes all files together.
        allow_unknown: skip judgements of unknown queries or documents instead of refusing them.
        document: what of a document is its text: `title+text` joined by a space, `title` (the questions of a FAQ) or
            `text`; a document without a title has its text whatever was asked for.

    Raises:
        ConfigError: for another `document`.
        DataError: for a missing file, an unknown split (with those found), a broken line (file and number),
            a repeated id, a grade that is not an integer, judgements of unknown ids (how many, the first three).
    """
    check({"document": document}, {"document": one_of(DOCUMENTS)})
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; expected one that holds corpus.jsonl, queries.jsonl and qrels/")
    corpus = _read_texts(folder / CORPUS_FILE)
    queries = _read_texts(folder / QUERIES_FILE)
    qrels: dict[str, dict[str, int]] = {}
    unknown: dict[str, None] = {}
    for path in _qrels_files(folder, split):
        for query_id, document_id, grade in read_qrels(path):
            missing = [one for one, known in ((query_id, queries), (document_id, corpus)) if one not in known]
            unknown.update(dict.fromkeys(missing))
            if not missing:
                qrels.setdefault(query_id, {})[document_id] = grade
    if unknown and not allow_unknown:
        raise DataError(
            f"{folder}: the qrels name {len(unknown)} ids that are in neither queries.jsonl nor corpus.jsonl, "
            f"such as {', '.join(list(unknown)[:3])}"
        )
    asked = [query_id for query_id in queries if query_id in qrels]
    return BeirSet(
        corpus_ids=list(corpus),
        corpus_texts=[_document(title, text, document) for title, text in corpus.values()],
        corpus_parts=list(corpus.values()),
        query_ids=asked,
        query_texts=[queries[query_id][1] for query_id in asked],
        qrels=qrels,
        queries=len(queries),
        unknown_ids=tuple(unknown),
    )


def fields_of_beir(folder: str | Path, document: str = "title+text") -> tuple[FieldRows, FieldRows]:
    """What else the files say of the queries and of the corpus, by the texts that `read_beir` gives."""
    folder = Path(folder).expanduser()
    queries, corpus = folder / QUERIES_FILE, folder / CORPUS_FILE
    return (
        FieldRows(queries.name, QUERIES, TextsIn(), queries),
        FieldRows(corpus.name, CORPUS, functools.partial(_texts_of_document, document), corpus),
    )


def is_beir(folder: Path) -> bool:
    """Whether a folder looks like a BEIR folder."""
    return (folder / CORPUS_FILE).is_file() and (folder / QUERIES_FILE).is_file()


def _document(title: str, text: str, document: str) -> str:
    return {"title": title or text, "text": text}.get(document, f"{title} {text}".strip())


def _texts_of_document(document: str, row: Row) -> list[str]:
    title = "" if is_missing(row.get("title")) else str(row["title"])
    return [_document(title, str(row["text"]), document)]


def _read_texts(path: Path) -> dict[str, tuple[str, str]]:
    """Title and text of each id."""
    texts: dict[str, tuple[str, str]] = {}
    for line, row in read_rows(path, ("_id", "text")):
        if is_missing(row["_id"]):
            raise DataError(f"{path}, line {line}: _id is empty; every line needs its own")
        one = str(row["_id"])
        if one in texts:
            raise DataError(f"{path}, line {line}: _id {one!r} appears twice")
        title = "" if is_missing(row.get("title")) else text_of(row, "title", path, line)
        texts[one] = title, text_of(row, "text", path, line)
    return texts


def _qrels_files(folder: Path, split: str | None) -> list[Path]:
    found = sorted((folder / "qrels").glob("*.tsv"), key=lambda path: path.name)
    if split is None and found:
        return found
    wanted = [path for path in found if path.stem == split]
    if not wanted:
        names = ", ".join(path.stem for path in found) or "none"
        raise DataError(f"{folder / 'qrels'} has no {split or 'split'}.tsv; found: {names}")
    return wanted


def read_qrels(path: Path) -> Iterator[tuple[str, str, int]]:
    """Query, document and grade of each line.

    Raises:
        DataError: for a missing file or column, or a grade that is not an integer.
    """
    for line, row in read_rows(path, ("query-id", "corpus-id", "score")):
        try:
            grade = float(row["score"])  # pandas writes 1.0
        except ValueError:
            grade = math.nan
        if not grade.is_integer():
            raise DataError(f"{path}, line {line}: score must be an integer, got {row['score']!r}")
        yield row["query-id"], row["corpus-id"], int(grade)
