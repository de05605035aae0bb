"""A new vec0 table of sqlite-vec, filled with the rows of another index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alignkit.errors import ConfigError, DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows, is_whole
from alignkit.indexes.new_index import VERSION, NewIndex, taken
from alignkit.indexes.plain_values import plain_value
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import EVERYTHING, beside, note_of, setting
from alignkit.indexes.sqlite_file import SqliteFile, quoted
from alignkit.indexes.sqlite_vec import SqliteVecIndex
from alignkit.indexes.vec0_table import Vec0Table, find_vec0, vec0_tables

_NOTE, _ROWS = "_alignkit_note", "_rows"
_METRICS: dict[Metric, str] = {"cosine": "cosine", "dot": "cosine", "l2": "l2"}


class NewSqliteVecIndex(NewIndex):
    """A vec0 table of keys and vectors, and an ordinary table beside it of keys, texts and payload.

    Each `put` and `remove` is one transaction. The note is an ordinary table of one row.

    Args:
        path: of the file; one that is not there is made.
        table: the vec0 table.
        vector: its column of vectors; `None` for "embedding".
        joined: the ordinary table; `None` for the name of the other and "_rows".
        id: the column of keys in both; `None` for "id".
        text: the column of texts; `None` for "text".
        payload: all is kept, a column each.

    Raises:
        ConfigError: if vec0 takes no such name of a column.
    """

    def __init__(
        self,
        path: str,
        table: str,
        vector: str | None = None,
        joined: str | None = None,
        id: str | None = None,
        text: str | None = None,
        payload: Sequence[str] = (),
    ) -> None:
        self.table, self.joined, self.noted = table, joined or table + _ROWS, beside(table, _NOTE)
        self.vector, self.key, self.text = vector or "embedding", id or "id", text or "text"
        for called, name in (("vector", self.vector), ("id", self.key)):
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise ConfigError(f"{setting(called)}={name}: vec0 takes names of letters, digits and _ alone")
        self.file = SqliteFile(path, create=True)
        self.place = f"table {table} of {self.file.path}, with texts and payload in table {self.joined}"
        self.own_fields = (self.key, self.vector, self.text)

    def close(self) -> None:
        """See `NewIndex`."""
        self.file.close()

    @property
    def written_together(self) -> bool:
        """See `NewIndex`."""
        return True

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            "sqlite-vec takes ids that are not all whole numbers as texts, lists and objects in the payload as JSON, "
            "has the cosine instead of the dot product, and gives a row without a vector a zero one"
        )

    def note(self) -> Note | None:
        """See `NewIndex`."""
        there = {name for (name,) in self.file.rows("SELECT name FROM sqlite_schema")}
        if self.noted not in there:
            if {self.table, self.joined} & there:
                raise taken(self.place)
            return None
        return note_of(self.file.rows(f"SELECT note FROM {quoted(self.noted)}")[0][0])

    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        self.file.rows(f"UPDATE {quoted(self.noted)} SET note = ?", json.dumps(note))

    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`."""
        kind = "INTEGER" if all(map(is_whole, like.ids)) else "TEXT"
        declared = f"{self.key} {kind} PRIMARY KEY, {self.vector} float[{int(dim)}] distance_metric={_METRICS[metric]}"

        def work() -> None:
            self.file.rows(f"CREATE VIRTUAL TABLE {quoted(self.table)} USING vec0({declared})")
            self.file.rows(
                f"CREATE TABLE {quoted(self.joined)} ({quoted(self.key)} {kind} PRIMARY KEY, {quoted(self.text)} TEXT,"
                f" {VERSION} TEXT)"
            )
            self.file.rows(f"CREATE TABLE {quoted(self.noted)} (note TEXT)")
            self.file.rows(f"INSERT INTO {quoted(self.noted)} VALUES (?)", json.dumps(note))

        self.file.whole(work)

    def dim(self) -> int:
        """See `NewIndex`."""
        return self._found().dim

    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`."""
        after, key = None, quoted(self.key)
        asked = f"SELECT {key}, {VERSION} FROM {quoted(self.joined)} WHERE ?1 IS NULL OR {key} > ?1"
        while rows := self.file.rows(f"{asked} ORDER BY {key} LIMIT ?2", after, batch):
            after = rows[-1][0]
            yield [one for one, _ in rows], [version or "" for _, version in rows]

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`."""
        text_keys = self._found().text_keys
        if not text_keys and (other := [one for one in rows.ids if not is_whole(one)]):
            raise DataError(
                f"{self.place}: was made for ids that are whole numbers, and a row has the id {other[0]}; give it up "
                "and begin again: ids of several types become texts where the first rows have them"
            )
        ids = [str(one) for one in rows.ids] if text_keys else rows.ids
        payload = [{name: _held(value) for name, value in one.items()} for one in rows.payload]
        fields = list(dict.fromkeys(name for one in payload for name in one))
        names = [self.key, self.text, VERSION, *fields]
        texts: Sequence[str | None] = rows.texts or [None] * len(rows)
        held = [
            (one, text, version, *(fit.get(name) for name in fields))
            for one, text, version, fit in zip(ids, texts, versions, payload, strict=True)
        ]
        made = zip(ids, (vector.tobytes() for vector in np.nan_to_num(vectors)), strict=True)

        def work() -> None:
            self._make_room(fields)
            self._delete(ids)
            self.file.many(f"INSERT INTO {quoted(self.table)} ({self.key}, {self.vector}) VALUES (?, ?)", made)
            marks = ", ".join("?" * len(names))
            columns = ", ".join(map(quoted, names))
            self.file.many(f"INSERT INTO {quoted(self.joined)} ({columns}) VALUES ({marks})", held)

        self.file.whole(work)

    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        self.file.whole(lambda: self._delete(ids))

    def build_index(self) -> str:
        """See `NewIndex`."""
        return "none: vec0 reads every vector"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        return SqliteVecIndex(
            str(self.file.path), self.table, self.vector, self.joined, text=self.text, payload=EVERYTHING
        )

    def give_up(self) -> None:
        """See `NewIndex`."""

        def work() -> None:
            for name in (self.table, self.joined, self.noted):
                self.file.rows(f"DROP TABLE IF EXISTS {quoted(name)}")

        self.file.whole(work)

    def finish(self) -> None:
        """See `NewIndex`."""

        def work() -> None:
            self.file.rows(f"ALTER TABLE {quoted(self.joined)} DROP COLUMN {VERSION}")
            self.file.rows(f"DROP TABLE {quoted(self.noted)}")

        self.file.whole(work)

    def _found(self) -> Vec0Table:
        if self.table not in vec0_tables(self.file):
            raise DataError(f"{self.place}: is not there; begin again")
        return find_vec0(self.file, self.table, self.vector)

    def _make_room(self, fields: list[str]) -> None:
        """A column for each field that has none; SQLite does not tell capitals from small letters."""
        found = self.file.rows("SELECT name FROM pragma_table_info(?)", self.joined)
        there = {name.lower(): name for (name,) in found}
        for name in fields:
            if there.setdefault(name.lower(), name) != name:
                raise DataError(
                    f"{self.place}: fields '{there[name.lower()]}' and '{name}' of the payload differ in capitals "
                    "alone, which SQLite does not tell apart; rename one"
                )
            if name.lower() not in {one.lower() for (one,) in found}:
                self.file.rows(f"ALTER TABLE {quoted(self.joined)} ADD COLUMN {quoted(name)}")
                found.append((name,))

    def _delete(self, ids: Sequence[Id]) -> None:
        for name in (self.table, self.joined):
            self.file.many(f"DELETE FROM {quoted(name)} WHERE {quoted(self.key)} = ?", [(one,) for one in ids])


def _held(value: Any) -> Any:
    """A value as a column of SQLite holds it."""
    value = plain_value(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value) if isinstance(value, int) and abs(value) >= 2**63 else value
