"""Fields that stand beside the texts of a file: a domain, a source, a year."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from alignkit.sentences.labels import label_of
from alignkit.sentences.sentence_files import read_rows

Row = Mapping[str, Any]
QUERIES, CORPUS = "queries", "corpus"


@dataclass(frozen=True)
class FieldRows:
    """Rows with texts and more fields.

    Attributes:
        place: what a reader knows them by.
        side: whose texts they are, `queries` or `corpus`.
        texts_of: the texts of a row.
        rows: a file, see `read_rows`, or the rows themselves.
    """

    place: str
    side: str
    texts_of: Callable[[Row], Iterable[str]]
    rows: str | Path | Sequence[Row]

    def __iter__(self) -> Iterator[Row]:
        if isinstance(self.rows, str | Path):
            yield from (row for _, row in read_rows(self.rows))
        else:
            yield from self.rows


@dataclass(frozen=True)
class TextsIn:
    """The texts of a row are in some of its columns, each alone."""

    columns: tuple[str, ...] = ("text",)

    def __call__(self, row: Row) -> Iterable[str]:
        """Those that are there."""
        return (text for name in self.columns if isinstance(text := row.get(name), str))


def fields_of_file(path: str | Path, *columns: str, side: str = QUERIES) -> FieldRows:
    """The rows of a file whose texts are in these columns."""
    return FieldRows(PurePath(path).name, side, TextsIn(columns or ("text",)), path)


@dataclass(frozen=True)
class FieldValues:
    """What texts have in one field.

    Attributes:
        by_text: text → its values, each once, in the order of the rows; texts without a value are left out.
        known: names of the fields that the rows have, those of nested ones with a dot.
        nested: whether the field holds further fields, so that it is none itself.
    """

    by_text: Mapping[str, tuple[str, ...]]
    known: tuple[str, ...]
    nested: bool = False

    @property
    def has_field(self) -> bool:
        """Whether any text has a value."""
        return bool(self.by_text)


def values_of(rows: FieldRows, field: str) -> FieldValues:
    """The values of a field; a list of values counts as several, and so do rows of the same text.

    Args:
        rows: of any source.
        field: its name; `metadata.domain` for one within another.

    Raises:
        DataError: if a file cannot be read.
    """
    found: dict[str, dict[str, None]] = {}
    known: dict[str, None] = {}
    nested = False
    for row in rows:
        known.update(dict.fromkeys(_names(row)))
        value = _value(row, field)
        nested = nested or isinstance(value, Mapping)
        # a cell of a table may hold an array
        many = value if isinstance(value, list | tuple) else [value]
        labels = [label for one in many if not isinstance(one, Mapping) and (label := label_of(one)) is not None]
        for text in rows.texts_of(row) if labels else ():
            found.setdefault(text, {}).update(dict.fromkeys(labels))
    return FieldValues({text: tuple(values) for text, values in found.items()}, tuple(known), nested)


def _value(row: Row, field: str) -> Any:
    if field in row:  # a name may hold a dot itself
        return row[field]
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _names(row: Row, place: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{place}{name}.")
        else:
            yield f"{place}{name}"
