"""New vectors in a column of their own, and the renaming of two columns that puts them in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows, Stretch
from alignkit.indexes.pg_building import WIDEST, build_hnsw
from alignkit.indexes.pg_changes import change
from alignkit.indexes.pg_cut_over import PgCutOver
from alignkit.indexes.pg_rights import expect_rights, size_of
from alignkit.indexes.pg_rows import NUMBER_BYTES, PgRows
from alignkit.indexes.pg_triggers import is_watched, may_pass_over, run_on_every_update, unwatch, watch
from alignkit.indexes.pg_writing import PgWriter
from alignkit.indexes.replacement import CutOver, Mapped, Note, Replacement
from alignkit.indexes.replacing import NEW, OLD, beside, expect_width, note_of, usable_rows
from alignkit.indexes.stages import Stage

if TYPE_CHECKING:
    import psycopg

MB = 1_000_000


class PgReplacement(Replacement[VectorIndex]):
    """A column beside the old one in the same table, NULL where a row has no new vector yet.

    Rows that are inserted later have none; a trigger takes it away from rows whose old vector changes; and `write`
    passes over rows that another transaction holds, or changed since `missing` gave them. So whatever happens
    meanwhile, `missing` gives the rows that are left, and `cut_over` can write them too; see `PgCutOver`. Atomic are
    each `write`, `cut_over` and `roll_back`: the latter two rename two columns in one transaction. While others hold
    the table, it is asked for again and again, a twentieth of a second each time, so that nobody queues behind. Two
    processes may do any step at the same time.

    A NOT NULL on the old column is dropped by `cut_over`, since rows inserted afterwards have no old vector, and is not
    set again by `roll_back`. The table's own triggers are passed over where the user may do that, as `way` says. The
    note is the comment of the new column.

    Args:
        rows: of the table.
        opened: another of its columns of vectors as an index.
    """

    def __init__(self, rows: PgRows, opened: Callable[[str], VectorIndex]) -> None:
        self.rows, self._opened = rows, opened
        self._writer: PgWriter | None = None

    def way(self, dim: int) -> str:
        """See `Replacement`; refused where `begin` would be."""
        expect_rights(self.rows)
        kind = self._new_kind(dim)
        searched = "with an HNSW index" if dim <= WIDEST[kind] else "without an index, which pgvector has up to 4,000"
        size, count = size_of(self.rows), self.rows.execute("SELECT count(*) FROM {table} AS t")[0][0]
        grown = 2 * size + count * dim * NUMBER_BYTES[kind]
        said = (
            f"a new column of {kind}({dim}), {searched}, is filled beside the old one, and a trigger marks rows that "
            "change meanwhile; cut_over and roll_back rename two columns in one transaction. Every row is written "
            f"anew, so the table grows from {size / MB:,.1f} to about {grown / MB:,.1f} MB, of which a VACUUM makes "
            f"{size / MB:,.1f} MB usable again"
        )
        if self.rows.table.partitioned and searched.startswith("with "):
            said += ". A partitioned table cannot be written while its index is built"
        if own := run_on_every_update(self.rows):
            runs = "does not run" if may_pass_over(self.rows) else "runs"
            said += f". The table's own trigger {' and '.join(own)} {runs} for the rows that are copied"
        return said

    def stage(self) -> Stage:
        """See `Replacement`."""
        table = self.rows.table
        if self._width(beside(table.vector, OLD)) is not None:
            return "cut over"
        return "untouched" if self._width(beside(table.vector, NEW)) is None else "begun"

    def _begin(self, dim: int) -> None:
        """See `Replacement`; wider than 2,000 dimensions the column is of `halfvec`, which HNSW takes up to 4,000."""
        table = self.rows.table
        expect_width(self._width(beside(table.vector, NEW)), dim)
        if self._width(beside(table.vector, NEW)) is not None and is_watched(self.rows):
            return  # whoever goes on disturbs nobody
        expect_rights(self.rows)
        add = f"ALTER TABLE {{table}} ADD COLUMN IF NOT EXISTS {{new}} {{kind}}({int(dim)})"
        self._change(add, watched=True, kind=(table.extension, self._new_kind(dim)))

    @property
    def written_together(self) -> bool:
        """See `Replacement`."""
        return True

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`; rows inserted or changed since are among them, whenever that was."""
        after, until = (None, None) if within is None else (within.after, within.until)
        while len(rows := self.rows.page(after, batch, "t.{new} IS NULL", versions=True, until=until)):
            yield rows
            after = rows.cursor

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`; rows that changed since `missing` gave them are left for it to give again."""
        new = beside(self.rows.table.vector, NEW)
        dim = self._width(new)
        if dim is None:
            raise DataError("cannot write: no replacement has begun")
        kept, vectors = usable_rows(rows, vectors, dim)
        if not kept:
            return 0
        keys = [str(rows.ids[row]) for row in kept]
        versions = None if rows.versions is None else [rows.versions[row] for row in kept]
        kind = self._kind(new)
        return self._writing(kind).write(keys, versions, vectors)

    def build_index(self) -> str:
        """See `Replacement`; HNSW by the index's metric, built while the table is read and written."""
        new = beside(self.rows.table.vector, NEW)
        column = new if self.stage() != "cut over" else self.rows.table.vector
        dim, kind = self._width(column), self._kind(column)
        if dim is None:
            raise DataError("cannot build an index: no replacement has begun")
        if dim > WIDEST[kind]:
            return f"none: pgvector indexes {kind} up to {WIDEST[kind]:,} dimensions, searches read every row"
        build_hnsw(self.rows, column, kind)
        return f"HNSW by {self.rows.metric}"

    def _catch_up_and_cut_over(self, force: bool, mapped: Mapped | None) -> CutOver:
        """See `PgCutOver`; refused too where a view reads the old column, which it would go on to do."""
        new = beside(self.rows.table.vector, NEW)
        writer, dim = self._writing(self._kind(new)), self._width(new) or 0
        if (views := self._views()) and not force:
            raise DataError(
                f"cannot cut over: {', '.join(views)} would go on with the old vectors, as views keep to a column "
                "when it is renamed; drop them and make them again afterwards, or cut over with force=true"
            )
        queries = (
            "ALTER TABLE {table} ALTER COLUMN {vector} DROP NOT NULL",
            "ALTER TABLE {table} RENAME COLUMN {vector} TO {old}",
            "ALTER TABLE {table} RENAME COLUMN {new} TO {vector}",
        )
        done = PgCutOver(self.rows, writer, dim, mapped, force).run(
            lambda opened: self._do(opened, queries, watched=False)
        )
        self.rows.find_again()
        return done

    def _cut_over(self, force: bool) -> None:
        self._catch_up_and_cut_over(force, None)

    def _roll_back(self) -> None:
        """See `Replacement`; rows inserted since `cut_over` have no old vector."""
        self._change(
            "ALTER TABLE {table} RENAME COLUMN {vector} TO {new}",
            "ALTER TABLE {table} RENAME COLUMN {old} TO {vector}",
            watched=True,
        )
        self.rows.find_again()

    def _drop_old(self) -> None:
        """See `Replacement`."""
        self._change("ALTER TABLE {table} DROP COLUMN {old}")
        self.rows.find_again()

    def _give_up(self) -> None:
        """See `Replacement`."""
        self._change("ALTER TABLE {table} DROP COLUMN IF EXISTS {new}", watched=False)
        self.rows.find_again()

    def _other(self, stage: Stage) -> VectorIndex:
        """See `Replacement`."""
        return self._opened(beside(self.rows.table.vector, OLD if stage == "cut over" else NEW))

    def _read_note(self, stage: Stage) -> Note | None:
        """See `Replacement`."""
        table = self.rows.table
        asked = "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = %s AND attname = %s"
        return note_of(self.rows.execute(asked, table.oid, self._made(stage))[0][0])

    def _keep_note(self, note: Note, stage: Stage) -> None:
        """See `Replacement`."""
        from psycopg.sql import SQL, Identifier, Literal

        table = self.rows.table
        column = Identifier(table.schema, table.name, self._made(stage))
        # a comment takes no bound values
        comment = SQL("COMMENT ON COLUMN {} IS {}").format(column, Literal(json.dumps(note)))
        self.rows.connection.run(lambda opened: change(opened, table, lambda: opened.execute(comment)))

    def _made(self, stage: Stage) -> str:
        """The column of the new vectors."""
        return self.rows.table.vector if stage == "cut over" else beside(self.rows.table.vector, NEW)

    def _new_kind(self, dim: int) -> str:
        return "halfvec" if WIDEST["vector"] < dim <= WIDEST["halfvec"] else self.rows.table.vector_type

    def _width(self, column: str) -> int | None:
        found = self._column(column)
        return None if found is None else found[1]

    def _kind(self, column: str) -> str:
        found = self._column(column)
        return self.rows.table.vector_type if found is None else found[0]

    def _column(self, column: str) -> tuple[str, int] | None:
        found = self.rows.execute(
            "SELECT t.typname::text, a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            " WHERE a.attrelid = %s AND a.attname = %s AND NOT a.attisdropped",
            self.rows.table.oid,
            column,
        )
        return (found[0][0], found[0][1]) if found else None

    def _views(self) -> list[str]:
        found = self.rows.execute(
            "SELECT DISTINCT c.relname::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
            " JOIN pg_class c ON c.oid = r.ev_class JOIN pg_attribute a ON a.attrelid = d.refobjid"
            " AND a.attnum = d.refobjsubid"
            " WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = %s AND a.attname = %s ORDER BY 1",
            self.rows.table.oid,
            self.rows.table.vector,
        )
        return [name for (name,) in found]

    def _change(self, *queries: str, watched: bool | None = None, **names: tuple[str, ...]) -> None:
        """All or none.

        Args:
            queries: with `{names}` as `PgRows.sql` has them.
            watched: whether our trigger is there afterwards; `None` leaves it as it is.
            names: further ones.
        """
        self.rows.connection.run(
            lambda opened: change(opened, self.rows.table, lambda: self._do(opened, queries, watched=watched, **names))
        )

    def _do(
        self,
        opened: psycopg.Connection,
        queries: Sequence[str],
        *,
        watched: bool | None = None,
        **names: tuple[str, ...],
    ) -> None:
        if watched is False:
            unwatch(self.rows, opened)
        for query in queries:
            opened.execute(self.rows.sql(query, **names), ())
        if watched:
            watch(self.rows, opened)

    def _writing(self, kind: str) -> PgWriter:
        if self._writer is None or self._writer.kind != kind:
            self._writer = PgWriter(self.rows, kind, bool(run_on_every_update(self.rows)) and may_pass_over(self.rows))
        return self._writer
