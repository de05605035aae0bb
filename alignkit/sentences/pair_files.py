"""Read files with two texts a row: scored pairs (STS), and pairs that mean the same or do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.sentences.files import read_rows, text_of

# Names under which public sets keep their two texts, tried in this order.
TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("first", "second"),
    ("anchor", "positive"),
    ("en1", "en2"),
    ("zh1", "zh2"),
    ("en", "zh"),
)
LABEL_COLUMNS = ("is_duplicate", "label", "same")


@dataclass(frozen=True)
class StsSet:
    """Sentence pairs with a similarity that people gave them.

    Attributes:
        first: N texts.
        second: N texts.
        scores: `(N,)` float64, the higher the more alike, in the scale of the file.
    """

    first: list[str]
    second: list[str]
    scores: np.ndarray


@dataclass(frozen=True)
class TextPair:
    """Two texts that mean the same (`same`), or do not; None where that is not clear."""

    first: str
    second: str
    same: bool | None = True


def read_sts(path: str | Path, first: str | None = None, second: str | None = None, score: str = "score") -> StsSet:
    """All scored pairs of a file.

    Args:
        path: `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        first: column of the first text; None looks for a usual name (`sentence1`, `en1` ...).
        second: likewise.
        score: column of the score.

    Raises:
        DataError: see `read_sentences`; also for a score that is no number, and for a file without pairs.
    """
    path = Path(path).expanduser()
    firsts, seconds, scores = [], [], []
    for line, row, one, other in _rows(path, first, second):
        firsts.append(one)
        seconds.append(other)
        scores.append(_score(row, score, path, line))
    return StsSet(firsts, seconds, np.array(scores, dtype=np.float64))


def read_pairs(
    path: str | Path, first: str | None = None, second: str | None = None, label: str | None = None
) -> list[TextPair]:
    """Pairs of a file; without a label column every pair means the same.

    Args:
        path: see `read_sts`.
        first: see `read_sts`.
        second: see `read_sts`.
        label: column with 1 (the same) or 0; None looks for `is_duplicate`, `label` and `same`.

    Raises:
        DataError: see `read_sts`; also for a label that is neither 0 nor 1.
    """
    path = Path(path)
    pairs = []
    for line, row, one, other in _rows(path, first, second):
        name = label or next((known for known in LABEL_COLUMNS if known in row), None)
        pairs.append(TextPair(one, other, True if name is None else _label(row, name, path, line)))
    return pairs


def text_columns(row: dict[str, Any]) -> tuple[str, str] | None:
    """The usual pair of columns that a row has, if any.

    >>> text_columns({"id": 1, "question1": "a", "question2": "b"})
    ('question1', 'question2')
    """
    return next(((one, other) for one, other in TEXT_COLUMNS if one in row and other in row), None)


def _rows(path: Path, first: str | None, second: str | None) -> Iterator[tuple[int, dict[str, Any], str, str]]:
    columns: Sequence[str] | None = (first, second) if first and second else None
    empty = True
    for line, row in read_rows(path, columns or ()):
        columns = columns or text_columns(row)
        if columns is None:
            known = ", ".join("/".join(pair) for pair in TEXT_COLUMNS)
            raise DataError(f"{path}: no two columns of text; found: {', '.join(row)}; name them, or call them {known}")
        for name in columns:
            if name not in row:
                raise DataError(f"{path}, line {line}: no column {name!r}; found: {', '.join(row)}")
        empty = False
        yield line, row, text_of(row, columns[0], path, line), text_of(row, columns[1], path, line)
    if empty:
        raise DataError(f"{path} holds no pair")


def _score(row: dict[str, Any], column: str, path: Path, line: int) -> float:
    if column not in row:
        raise DataError(f"{path}, line {line}: no column {column!r}; found: {', '.join(row)}")
    try:
        score = float(row[column])
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{path}, line {line}: {column} must be a number, got {row[column]!r}")
    return score


def _label(row: dict[str, Any], column: str, path: Path, line: int) -> bool:
    value = str(row.get(column)).strip().lower()
    if value not in ("0", "1", "0.0", "1.0", "true", "false"):
        raise DataError(f"{path}, line {line}: {column} must be 0 or 1, got {row.get(column)!r}")
    return value in ("1", "1.0", "true")
