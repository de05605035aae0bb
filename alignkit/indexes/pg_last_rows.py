"""The last rows of a table that is written all the time: found without reading the others, while nobody can write."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.pg_building import build_named
from alignkit.indexes.pg_rows import PgRows
from alignkit.indexes.replacing import beside

if TYPE_CHECKING:
    import psycopg

# the lengths of vectors, by their type
_LENGTHS = {"vector": "vector_norm", "halfvec": "l2_norm"}
# with a partial index, guesses from old statistics would have the whole table read
_BY_INDEX = "SET LOCAL enable_seqscan = off"


class PgLastRows:
    """Rows that have an old vector and no new one, by a partial index that is there for a cut-over alone.

    A partitioned table takes no such index while it is written; it is read whole instead.

    Args:
        rows: of the table.
    """

    def __init__(self, rows: PgRows) -> None:
        self.rows, table = rows, rows.table
        # a name that no other table's column has
        self._index = beside(f"{table.oid}_{table.vector}", "_alignkit_last")
        self._length = (table.extension, _LENGTHS[table.vector_type])
        # vectors that are zero or of another width have nothing to map
        self._which = "{new} IS NULL AND {length}({vector}) > 0::float8"
        if table.dim is None:
            self._which += f" AND {{vector_dims}}({{vector}}) = {rows.dim}"

    def prepare(self) -> None:
        """Make the index, while others read and write.

        Raises:
            EngineError: if the server refuses.
        """
        if not self.rows.table.partitioned:
            build_named(self.rows, self._index, f"({{id}}) WHERE {self._which}", length=self._length)

    def count(self, opened: psycopg.Connection) -> int:
        """How many there are."""
        found = self._asked(opened, "SELECT count(*)", "")
        return int(found[0][0])

    def some(self, opened: psycopg.Connection, most: int) -> IndexRows:
        """Up to so many of these rows, in no order."""
        found = self._asked(opened, "SELECT {columns}, t.xmin::text", " LIMIT %s", most)
        return replace(self.rows.as_rows([row[:-1] for row in found]), versions=[row[-1] for row in found])

    def _asked(self, opened: psycopg.Connection, start: str, end: str, *values: int) -> list[tuple[Any, ...]]:
        which = self._which.replace("{new}", "t.{new}").replace("({vector})", "(t.{vector})")
        query = self.rows.sql(f"{start} FROM {{table}} AS t WHERE {which}{end}", length=self._length)
        with opened.transaction():
            opened.execute(_BY_INDEX)
            return opened.cursor(binary=True).execute(query, values).fetchall()

    def forget(self, opened: psycopg.Connection) -> None:
        """Delete the index."""
        drop = self.rows.sql("DROP INDEX IF EXISTS {index}", index=(self.rows.table.schema, self._index))
        opened.execute(drop, ())
