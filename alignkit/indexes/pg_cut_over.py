"""Puts the new column of a table in use while others write to it, with no row left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from alignkit.errors import DataError, EngineError
from alignkit.indexes.pg_changes import change
from alignkit.indexes.pg_last_rows import PgLastRows
from alignkit.indexes.pg_rows import PgRows
from alignkit.indexes.pg_writing import PgWriter
from alignkit.indexes.replacement import CutOver, Mapped
from alignkit.indexes.replacing import expect_all, usable_rows

if TYPE_CHECKING:
    import psycopg

BATCH = 4096
# rows that are written while nobody else can: each goes into the HNSW index too, which takes up to 10 ms
MOST_HELD = 8
# so few that what comes until the table is held will be few as well
_FEW = MOST_HELD // 2
_TRIES = 20


class PgCutOver:
    """Writes what came since without holding anybody up, and the very last rows while the table is held.

    Reads go on but for the moment of the renaming; whoever writes waits. Where too many rows came in between, the table
    is let go and they are written first.

    Args:
        rows: of the table.
        writer: into the new column.
        dim: of the new vectors.
        mapped: makes new vectors; `None` refuses rows that have none.
        force: cuts over without these.
    """

    def __init__(self, rows: PgRows, writer: PgWriter, dim: int, mapped: Mapped | None, force: bool) -> None:
        self.rows, self.writer, self.dim, self.mapped, self.force = rows, writer, dim, mapped, force
        self.last = PgLastRows(rows)
        self._looks = mapped is not None or not force

    def run(self, swap: Callable[[psycopg.Connection], None]) -> CutOver:
        """Do it.

        Args:
            swap: renames the columns.

        Raises:
            DataError: if rows have no new vector, unless forced.
            EngineError: if rows come faster than they are written, or the table is held for too long.
        """
        if self._looks:
            self.last.prepare()
        if self.mapped is None and not self.force:
            expect_all(self.rows.connection.run(self.last.count), self.force)
        caught_up = 0
        for _ in range(_TRIES):
            if self.mapped is not None:
                caught_up += self._catch_up(self.mapped)
            try:
                held_up, held_ms = self._held(swap)
            except _TooManyError:
                continue
            return CutOver(caught_up + held_up, held_up, held_ms)
        raise EngineError(
            f"PostgreSQL: rows of table {self.rows.table.name} come faster than their new vectors can be written; "
            "nothing was cut over; let fewer programs write for a moment, and try again"
        )

    def _catch_up(self, mapped: Mapped) -> int:
        """Write what is left until few rows come at once; those that others hold are left again."""
        caught_up = 0
        for _ in range(_TRIES):
            rows = self.rows.connection.run(lambda opened: self.last.some(opened, BATCH))
            if not len(rows):
                break
            kept, vectors = usable_rows(rows, mapped(rows), self.dim)
            versions = [(rows.versions or ())[row] for row in kept]
            now = self.writer.write([str(rows.ids[row]) for row in kept], versions, vectors)
            caught_up += now
            if not now or len(rows) <= _FEW:
                break
        return caught_up

    def _held(self, swap: Callable[[psycopg.Connection], None]) -> tuple[int, float]:
        """How many rows were written while the table was held, and for how many ms that was."""
        held_up, since = 0, 0.0

        def work(opened: psycopg.Connection) -> None:
            nonlocal held_up, since
            # neither does anybody hold a row then who would be waited for
            opened.execute(self.rows.sql("LOCK TABLE {table} IN EXCLUSIVE MODE"), ())
            since = time.perf_counter()
            if self._looks:
                held_up = self._write_last(opened)
            swap(opened)
            self.last.forget(opened)

        self.rows.connection.run(lambda opened: change(opened, self.rows.table, lambda: work(opened)))
        return held_up, 1000 * (time.perf_counter() - since)

    def _write_last(self, opened: psycopg.Connection) -> int:
        rows = self.last.some(opened, MOST_HELD + 1)
        if self.mapped is None:
            expect_all(len(rows), self.force)
        elif len(rows) > MOST_HELD:
            raise _TooManyError
        elif len(rows):
            kept, vectors = usable_rows(rows, self.mapped(rows), self.dim)
            keys = [str(rows.ids[row]) for row in kept]
            stored = self.writer.write_held(opened, keys, vectors)
            if stored < len(keys) and not self.force:
                raise DataError(
                    f"{len(keys) - stored:,} of {len(keys):,} rows of table {self.rows.table.name} take no new vector "
                    f"(among them perhaps {keys[0]}); does one of its triggers or policies refuse it? Cut over without "
                    "them with force=true"
                )
            return stored
        return 0


class _TooManyError(Exception):
    """More rows came than are written while the table is held."""
