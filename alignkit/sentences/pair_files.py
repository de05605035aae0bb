"""Read files with two texts per row: scored pairs (STS), and pairs that mean the same or do not."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.sentences.labels import is_missing, label_of
from alignkit.sentences.sentence_files import column_names, read_rows, text_of

logger = logging.getLogger(__name__)

# Column names of public sets, tried in this order.
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
    """Sentence pairs with similarity scores given by people.

    Attributes:
        first: N texts.
        second: N texts.
        scores: `(N,)` float64, higher is more similar, on the file's scale.
    """

    first: list[str]
    second: list[str]
    scores: np.ndarray


@dataclass(frozen=True)
class TextPair:
    """Two texts that mean the same (`same`) or do not; None if unknown."""

    first: str
    second: str
    same: bool | None = True


def read_sts(path: str | Path, first: str | None = None, second: str | None = None, score: str = "score") -> StsSet:
    """All scored pairs of a file; pairs without a score are left out and counted in the log.

    Args:
        path: `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        first: column of the first text; None looks for a usual name (`sentence1`, `en1` ...).
        second: likewise.
        score: column of the score.

    Raises:
        DataError: see `read_sentences`; also for a score that is not a number, and for a file without pairs.
    """
    path = Path(path).expanduser()
    firsts, seconds, scores = [], [], []
    unscored = 0
    for line, row, one, other in _rows(path, first, second, (score,)):
        found = _score(row, score, path, line)
        if found is None:
            unscored += 1
            continue
        firsts.append(one)
        seconds.append(other)
        scores.append(found)
    if not scores:
        raise DataError(f"{path}: none of its {unscored:,} pairs has a {score}")
    if unscored:
        logger.warning("%s: %d of %d pairs have no %s and were left out", path, unscored, unscored + len(scores), score)
    return StsSet(firsts, seconds, np.array(scores, dtype=np.float64))


def read_pairs(
    path: str | Path, first: str | None = None, second: str | None = None, label: str | None = None
) -> list[TextPair]:
    """Pairs of a file. Without a label column every pair means the same; a pair without a label is unknown.

    Args:
        path: see `read_sts`.
        first: see `read_sts`.
        second: see `read_sts`.
        label: column with 1 (same meaning) or 0; None looks for `is_duplicate`, `label` and `same`.

    Raises:
        DataError: see `read_sts`; also for a label that is neither 0 nor 1.
    """
    path = Path(path)
    pairs = []
    for line, row, one, other in _rows(path, first, second, (label,) if label else LABEL_COLUMNS):
        name = label or next((known for known in LABEL_COLUMNS if known in row), None)
        pairs.append(TextPair(one, other, True if name is None else _label(row, name, path, line)))
    if unknown := sum(pair.same is None for pair in pairs):
        logger.warning("%s: %d of %d pairs have no label; they count as neither", path, unknown, len(pairs))
    return pairs


def text_columns(names: Collection[str]) -> tuple[str, str] | None:
    """The usual pair of columns among the names, if any.

    >>> text_columns(["id", "question1", "question2"])
    ('question1', 'question2')
    """
    return next(((one, other) for one, other in TEXT_COLUMNS if one in names and other in names), None)


def _rows(
    path: Path, first: str | None, second: str | None, also: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any], str, str]]:
    columns = columns_of(path, first, second)
    empty = True
    for line, row in read_rows(path, columns, also):
        empty = False
        yield line, row, text_of(row, columns[0], path, line), text_of(row, columns[1], path, line)
    if empty:
        raise DataError(f"{path} holds no pairs")


def columns_of(path: Path, first: str | None = None, second: str | None = None) -> tuple[str, str]:
    """Where the two texts of a pair stand: the columns that are named, else a usual pair of names.

    Raises:
        DataError: if there are no rows, or no such columns.
    """
    names = column_names(path)
    if not names:
        raise DataError(f"{path} holds no pairs")
    columns = (first, second) if first and second else text_columns(names)
    if columns is None:
        known = ", ".join("/".join(pair) for pair in TEXT_COLUMNS)
        raise DataError(f"{path}: no two columns of text; found: {', '.join(names)}; name them, or call them {known}")
    return columns


def _score(row: dict[str, Any], column: str, path: Path, line: int) -> float | None:
    if column not in row:
        raise DataError(f"{path}, line {line}: no column {column!r}; found: {', '.join(row)}")
    value = row[column]
    if is_missing(value) or (isinstance(value, str) and label_of(value) is None):
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{path}, line {line}: {column} must be a number, got {value!r}")
    return score


def _label(row: dict[str, Any], column: str, path: Path, line: int) -> bool | None:
    value = label_of(row.get(column))
    if value is None:
        return None
    if value.lower() not in ("0", "1", "0.0", "1.0", "true", "false"):
        raise DataError(f"{path}, line {line}: {column} must be 0 or 1, got {row.get(column)!r}")
    return value.lower() in ("1", "1.0", "true")
