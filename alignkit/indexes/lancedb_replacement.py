"""New vectors in a table of their own, then in a column, and the renaming of two columns that puts them in use."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import IndexRows, Stretch, picked
from alignkit.indexes.lance_ids import held, ids_of, looked_up
from alignkit.indexes.lance_refusals import lance_refusals
from alignkit.indexes.replacement import Note, Replacement
from alignkit.indexes.replacing import (
    NEW,
    OLD,
    beside,
    expect_all,
    expect_width,
    note_of,
    usable_rows,
)
from alignkit.indexes.stages import Stage

# below that, reading every row is as fast, and the engine has too little to train an index on
FEWEST_TO_INDEX = 10_000
_NOTE = "_alignkit_note"


class LancedbReplacement(Replacement[VectorIndex]):
    """Vectors are gathered by id in a table beside, which `build_index` adds to the old one as a column.

    `write`, the adding and the renaming are one version of a table each, so atomic. A row that is inserted meanwhile is
    given by `missing`; one whose vector is changed after it was written is not noticed. Rows inserted after
    `build_index` have no new vector until it is called again. The note is a table of one row.

    Args:
        index: over the table.
        database: that the table lies in.
        table: of the index.
        columns: of ids, and of vectors.
        metric: of the index.
        reopen: reads the table's schema again.
        opened: another column of vectors as an index.
    """

    def __init__(
        self,
        index: VectorIndex,
        database: Any,
        table: Any,
        columns: tuple[str, str],
        metric: Metric,
        reopen: Callable[[], None],
        opened: Callable[[str], VectorIndex],
    ) -> None:
        self._opened = opened
        self.index, self.database, self.table, self.metric, self._reopen = index, database, table, metric, reopen
        self.id, self.vector = columns
        self.new, self.old = beside(self.vector, NEW), beside(self.vector, OLD)
        self.gathered, self.noted = (_table_beside(table.name, self.vector, suffix) for suffix in (NEW, _NOTE))

    def way(self, dim: int) -> str:
        """See `Replacement`."""
        return (
            "new vectors are gathered in a table beside, which becomes a column; rows that are added meanwhile are "
            "caught up, changed ones are not; cut_over and roll_back rename two columns in one version of the table"
        )

    @lance_refusals()
    def stage(self) -> Stage:
        """See `Replacement`."""
        columns = self._columns()
        if self.old in columns:
            return "cut over"
        return "begun" if self.new in columns or self._gathering() is not None else "untouched"

    @lance_refusals()
    def _begin(self, dim: int) -> None:
        """See `Replacement`; refused where two rows have one id."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if (begun := self._width()) is not None:
            expect_width(begun, dim)
            return
        ids = ids_of(self.table.to_lance(), self.id)
        if (twice := len(ids) - pc.count_distinct(ids, mode="all").as_py()) or ids.null_count:
            raise DataError(
                f"table {self.table.name}: {twice:,} ids in column '{self.id}' stand twice and {ids.null_count:,} are "
                "missing, so new vectors could not be told apart; give every row its own"
            )
        fields = [self.table.schema.field(self.id), pa.field(self.new, pa.list_(pa.float32(), dim))]
        self._make(self.gathered, schema=pa.schema(fields))

    @property
    def written_together(self) -> bool:
        """See `Replacement`."""
        return True

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`."""
        for rows in self.index.within(within, batch):
            with lance_refusals():
                done = self._done(rows.ids)
            if len(done) < len(rows):
                yield picked(rows, [row for row, one in enumerate(rows.ids) if one not in done])

    @lance_refusals()
    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`; rows without a usable vector get NULL."""
        import pyarrow as pa

        gathering, dim = self._gathering(), self._width()
        if gathering is None or dim is None:
            raise DataError("cannot write: no replacement has begun, or it is in use")
        kept, made = usable_rows(rows, vectors, dim)
        whole = np.zeros((len(rows), dim), np.float32)
        whole[kept] = made
        without = pa.array([row in rows.faults for row in range(len(rows))])
        column = pa.FixedSizeListArray.from_arrays(pa.array(whole.reshape(-1)), dim, mask=without)
        ids = pa.array(rows.ids, gathering.schema.field(self.id).type)
        part = pa.table([ids, column], schema=gathering.schema)
        if self._done(rows.ids):
            written = gathering.merge_insert(self.id).when_matched_update_all().when_not_matched_insert_all()
            written.execute(part, on_bad_vectors="null")
        else:
            gathering.add(part)
        return len(kept)

    @lance_refusals()
    def build_index(self) -> str:
        """See `Replacement`; adds the column, and an index where there are rows enough."""
        import pyarrow as pa

        gathering = self._gathering()
        if gathering is not None:
            if self.new in self._columns():
                self.table.drop_columns([self.new])
            gathered, dataset = gathering.to_lance(), self.table.to_lance()
            field = gathering.schema.field(self.new)
            batches = looked_up(gathered, self.id, field, ids_of(dataset, self.id))
            dataset.add_columns(pa.RecordBatchReader.from_batches(pa.schema([field]), batches))
        if self.new not in self._columns():
            raise DataError("cannot build an index: no replacement has begun")
        if self.table.count_rows() < FEWEST_TO_INDEX:
            return f"none: fewer than {FEWEST_TO_INDEX:,} rows are read whole as fast"
        from lancedb.index import HnswSq

        self.table.create_index(self.new, config=HnswSq(distance_type=self.metric), replace=True)
        return f"IVF and HNSW by {self.metric}, with 8 bits a dimension"

    @lance_refusals()
    def _cut_over(self, force: bool) -> None:
        """See `Replacement`."""
        if self.new not in self._columns():
            raise DataError("cannot cut over: the new vectors are no column yet; build_index makes them one")
        expect_all(sum(len(rows) for rows in self.missing()), force)
        self._rename((self.vector, self.old), (self.new, self.vector))
        self._forget(self.gathered)

    @lance_refusals()
    def _roll_back(self) -> None:
        """See `Replacement`."""
        self._rename((self.vector, self.new), (self.old, self.vector))

    @lance_refusals()
    def _drop_old(self) -> None:
        """See `Replacement`; the vectors stay in older versions of the table until those are cleaned up."""
        self.table.drop_columns([self.old])
        self._forget(self.noted)
        self._reopen()

    @lance_refusals()
    def _give_up(self) -> None:
        """See `Replacement`."""
        if self.new in self._columns():
            self.table.drop_columns([self.new])
        self._forget(self.gathered, self.noted)
        self._reopen()

    def _other(self, stage: Stage) -> VectorIndex:
        """See `Replacement`."""
        if stage == "begun" and self.new not in self._columns():
            raise DataError("cannot read the new vectors: they are no column yet; build_index makes them one")
        return self._opened(self.old if stage == "cut over" else self.new)

    @lance_refusals()
    def _read_note(self, stage: Stage) -> Note | None:
        """See `Replacement`."""
        noted = self._table(self.noted)
        return None if noted is None else note_of(noted.to_arrow().column("note")[0].as_py())

    @lance_refusals()
    def _keep_note(self, note: Note, stage: Stage) -> None:
        """See `Replacement`."""
        self._make(self.noted, [{"note": json.dumps(note)}])

    def _forget(self, *tables: str) -> None:
        for name in tables:
            with suppress(ValueError):
                self.database.drop_table(name)

    def _done(self, ids: list[Any]) -> set[Any]:
        """Those of the ids that have been written."""
        gathering = self._gathering()
        if gathering is None:
            return set(ids)
        return held(gathering.to_lance(), self.id, ids)

    def _width(self) -> int | None:
        gathering = self._gathering()
        if gathering is not None:
            return int(gathering.schema.field(self.new).type.list_size)
        return int(self.table.schema.field(self.new).type.list_size) if self.new in self._columns() else None

    def _gathering(self) -> Any:
        return self._table(self.gathered)

    def _table(self, name: str) -> Any:
        """A table of this name; `None` where there is none, or one that was never finished, on a full disk say."""
        if name not in self.database.list_tables().tables:
            return None
        try:
            return self.database.open_table(name)
        except (ValueError, FileNotFoundError) as error:
            if "not found" in str(error):
                return None
            raise

    def _make(self, name: str, *rows: Any, **schema: Any) -> None:
        # to overwrite what is not there is warned of by the engine itself
        there = name in self.database.list_tables().tables
        self.database.create_table(name, *rows, **schema, mode="overwrite" if there else "create")

    def _columns(self) -> list[str]:
        self.table.checkout_latest()
        return list(self.table.schema.names)

    def _rename(self, *names: tuple[str, str]) -> None:
        """Several columns in one version of the table."""
        self.table.alter_columns(*({"path": name, "rename": other} for name, other in names))
        self._reopen()


def _table_beside(table: str, column: str, suffix: str) -> str:
    """The name of a table, of fewer signs than a column may have."""
    name = f"{table}_{column}"
    allowed = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    if allowed != name:  # and so might another column's
        allowed += f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return beside(allowed, suffix)
