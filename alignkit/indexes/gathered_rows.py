"""Rows on their way into a file that can only be written whole: gathered in a file of SQLite beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import EngineError
from alignkit.files import appearing
from alignkit.indexes.index_rows import Id, IndexRows, is_whole
from alignkit.indexes.plain_values import plain_value

_WAIT_S = 60
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE row (place INTEGER PRIMARY KEY, id TEXT UNIQUE, whole INTEGER, version TEXT, vector BLOB, text TEXT,
    payload TEXT);
"""


class GatheredRows:
    """The rows, in the order in which they first came; each is on the disk when its `put` returns.

    Args:
        path: of the file of SQLite.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, about: dict[str, Any]) -> None:
        """Make the file, with some JSON values; it appears when it is whole."""
        try:
            with appearing(self.path) as unfinished, closing(sqlite3.connect(unfinished)) as made, made:
                made.executescript(_TABLES)
                made.executemany("INSERT INTO about VALUES (?, ?)", _as_json(about))
        except sqlite3.Error as error:
            raise self._worded(error) from None

    def about(self) -> dict[str, Any] | None:
        """The JSON values; `None` where there is no file."""
        if not self.path.is_file():
            return None
        return {name: json.loads(value) for name, value in self._read("SELECT name, value FROM about")}

    def set(self, **values: Any) -> None:
        """Put JSON values in place of others."""
        self._write(("INSERT OR REPLACE INTO about VALUES (?, ?)", _as_json(values)))

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex.put`; all or none of them."""
        bare = np.isnan(vectors[:, 0])
        texts = rows.texts if rows.texts is not None else [None] * len(rows)
        listed = [
            (str(own), is_whole(own), version, None if bare[row] else vectors[row].tobytes(), text, _text_of(payload))
            for row, (own, version, text, payload) in enumerate(
                zip(rows.ids, versions, texts, rows.payload, strict=True)
            )
        ]
        insert = (
            "INSERT INTO row (id, whole, version, vector, text, payload) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET whole = excluded.whole, version = excluded.version,"
            " vector = excluded.vector, text = excluded.text, payload = excluded.payload"
        )
        self._write((insert, listed), ("INSERT OR REPLACE INTO about VALUES (?, ?)", _as_json({"built": False})))

    def remove(self, ids: Sequence[Id]) -> None:
        """Delete rows."""
        gone = [(str(one),) for one in ids]
        unbuilt = ("INSERT OR REPLACE INTO about VALUES (?, ?)", _as_json({"built": False}))
        self._write(("DELETE FROM row WHERE id = ?", gone), unbuilt)

    def versions(self, batch: int) -> Iterator[tuple[list[Id], list[str]]]:
        """Ids as texts, and versions."""
        for page in self._pages("id, version", batch):
            yield [one for _, one, _ in page], [version for _, _, version in page]

    def batches(self, dim: int, batch: int) -> Iterator[IndexRows]:
        """The rows with their new vectors, NaN where there is none; ids are numbers if all are."""
        numbers, has_texts = self.has_whole_ids(), self.has_texts()
        for page in self._pages("id, vector, text, payload", batch):
            vectors = np.full((len(page), dim), np.nan, np.float32)
            for row, (_, _, vector, _, _) in enumerate(page):
                if vector is not None:
                    vectors[row] = np.frombuffer(vector, np.float32)
            texts = [text for *_, text, _ in page] if has_texts else None
            yield IndexRows(
                ids=[int(row[1]) if numbers else row[1] for row in page],
                vectors=vectors,
                texts=texts,
                payload=[json.loads(row[-1]) for row in page],
            )

    def has_whole_ids(self) -> bool:
        """Whether all ids are whole numbers of 64 bits."""
        return self._read("SELECT coalesce(min(whole), 0) FROM row")[0][0] == 1

    def has_texts(self) -> bool:
        """Whether the rows have texts."""
        return bool(self._read("SELECT EXISTS (SELECT 1 FROM row WHERE text IS NOT NULL)")[0][0])

    def count(self) -> int:
        """How many rows."""
        return int(self._read("SELECT count(*) FROM row")[0][0])

    def delete(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)

    def _pages(self, columns: str, batch: int) -> Iterator[list[tuple[Any, ...]]]:
        after = 0
        query = f"SELECT place, {columns} FROM row WHERE place > ? ORDER BY place LIMIT ?"
        while page := self._read(query, after, batch):
            yield page
            after = page[-1][0]

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as opened:
                return opened.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._worded(error) from None

    def _write(self, *statements: tuple[str, list[tuple[Any, ...]]]) -> None:
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as opened, opened:
                for statement, values in statements:
                    opened.executemany(statement, values)
        except sqlite3.Error as error:
            raise self._worded(error) from None

    def _worded(self, error: sqlite3.Error) -> EngineError:
        full = "; free some space, then run the same command again: it continues" if "full" in str(error) else ""
        return EngineError(f"{self.path}: {error}{full}")


def _as_json(values: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(name, json.dumps(value)) for name, value in values.items()]


def _text_of(payload: dict[str, Any]) -> str:
    return json.dumps(plain_value(payload), ensure_ascii=False)
