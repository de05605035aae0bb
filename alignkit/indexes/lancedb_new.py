"""A new table of LanceDB, written from the rows of another index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.indexes.arrow_payload import whole_batches
from alignkit.indexes.arrow_vectors import column_of_matrix, matrix_of_column
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows, is_whole
from alignkit.indexes.lance_refusals import lance_refusals
from alignkit.indexes.lancedb import LancedbIndex
from alignkit.indexes.lancedb_replacement import FEWEST_TO_INDEX
from alignkit.indexes.new_index import NewIndex, taken
from alignkit.indexes.plain_values import plain_value
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import note_of

_BATCH = 4096
_BUILT_OF = b"alignkit_built_of"


class NewLancedbIndex(NewIndex):
    """Rows are gathered in a table beside, of which `build_index` makes the new one, as one version, at its name.

    A field of the payload whose values have no type in common is written as JSON, times and bytes as text. The table
    beside goes with `finish`; the note is a table of one row.

    Args:
        path: of the database, as `LancedbIndex` has it.
        table: its name.
        vector: the column of vectors; `None` for "embedding".
        text: the column of texts; `None` for "text".
        id: the column of ids.
        payload: all is kept.
        metric: that searches order by; `None` for that of the old index.
    """

    def __init__(
        self,
        path: str,
        table: str,
        vector: str | None = None,
        text: str | None = None,
        id: str = "id",
        payload: Sequence[str] = (),
        metric: Metric | None = None,
    ) -> None:
        with needing("lancedb"):
            import lance  # noqa: F401 - the table's own scanner
            import lancedb
        self.path, self.name, self.metric = path, table, metric
        self.vector, self.text, self.id = vector or "embedding", text or "text", id
        self.place, self.own_fields = f"table {table} of LanceDB in {path}", (self.vector, self.text, self.id)
        self.gathered, self.noted = f"{table}_alignkit_gathered", f"{table}_alignkit_move"
        with lance_refusals():
            self.database = lancedb.connect(path if "://" in path else Path(path).expanduser())

    @property
    def written_together(self) -> bool:
        """See `NewIndex`."""
        return True

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            "rows are gathered in a table beside it, from which copy makes the new one in one piece when it has "
            "gathered all"
        )

    @lance_refusals()
    def note(self) -> Note | None:
        """See `NewIndex`."""
        about, there = self._about(), self._tables()
        if about is None and self.name in there:
            raise taken(self.place)
        # the table is made last
        return None if about is None or self.gathered not in there else about["note"]

    @lance_refusals()
    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        self._keep({**(self._about() or {}), "note": note})

    @lance_refusals()
    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`."""
        import pyarrow as pa

        self._keep({"note": note, "metric": self.metric or metric, "texts": like.texts is not None})
        names = ("id", "whole", "version", "text", "payload")
        fields = [pa.field(name, pa.bool_() if name == "whole" else pa.string()) for name in names]
        schema = pa.schema([*fields, pa.field("vector", pa.list_(pa.float32(), dim))])
        self.database.create_table(self.gathered, schema=schema)

    @lance_refusals()
    def dim(self) -> int:
        """See `NewIndex`."""
        return int(self._rows().schema.field("vector").type.list_size)

    def versions(self, batch: int = _BATCH) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`; ids are texts."""
        for part in self._scanned(["id", "version"], batch):
            yield part.column("id").to_pylist(), part.column("version").to_pylist()

    @lance_refusals()
    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`; all or none of them."""
        import pyarrow as pa

        table = self._rows()
        part = {
            "id": [str(one) for one in rows.ids],
            "whole": [is_whole(one) for one in rows.ids],
            "version": list(versions),
            "text": rows.texts if rows.texts is not None else [None] * len(rows),
            "payload": [json.dumps(plain_value(one), ensure_ascii=False) for one in rows.payload],
            "vector": column_of_matrix(vectors),
        }
        written = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        written.execute(pa.table(part, schema=table.schema), on_bad_vectors="null")

    @lance_refusals()
    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        listed = ", ".join("'" + str(one).replace("'", "''") + "'" for one in ids)
        self._rows().delete(f"id IN ({listed})")

    @lance_refusals()
    def build_index(self) -> str:
        """See `NewIndex`."""
        import pyarrow as pa

        gathered, metric = self._rows(), (self._about() or {}).get("metric", "cosine")
        state = str(gathered.version).encode()
        if not self._is_built_of(state):
            batches = whole_batches(self._batches, self.id, self.text, self.vector)
            first = next(batches, None)
            if first is None:
                raise DataError(f"{self.place}: no rows to build it from")
            schema = first.schema.with_metadata({_BUILT_OF: state})

            def parts() -> Iterator[Any]:
                yield first.replace_schema_metadata(schema.metadata)
                yield from (batch.replace_schema_metadata(schema.metadata) for batch in batches)

            reader = pa.RecordBatchReader.from_batches(schema, parts())
            # to overwrite what is not there is warned of by the engine itself
            how = "overwrite" if self.name in self._tables() else "create"
            self.database.create_table(self.name, reader, mode=how, on_bad_vectors="null")
        table = self.database.open_table(self.name)
        if table.count_rows() < FEWEST_TO_INDEX:
            return f"none: fewer than {FEWEST_TO_INDEX:,} rows are read whole as fast"
        from lancedb.index import HnswSq

        if not any(self.vector in index.columns for index in table.list_indices()):
            table.create_index(self.vector, config=HnswSq(distance_type=metric))
        return f"IVF and HNSW by {metric}, with 8 bits a dimension"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        if self.name not in self._tables():
            raise DataError(f"{self.place}: is not built yet; build_index makes it")
        about = self._about() or {}
        text = self.text if about.get("texts") else None
        return LancedbIndex(self.path, self.name, self.vector, text, self.id, ["*"], about.get("metric"))

    @lance_refusals()
    def cut_over(self) -> None:
        """See `NewIndex`; what was gathered since must be built."""
        if not self._is_built_of(str(self._rows().version).encode()):
            raise DataError(f"cannot cut over: {self.place} is not built yet; build_index makes it")

    @lance_refusals()
    def finish(self) -> None:
        """See `NewIndex`."""
        self._forget(self.noted, self.gathered)  # without a note, nothing that is there is written again

    @lance_refusals()
    def give_up(self) -> None:
        """See `NewIndex`."""
        self._forget(self.name, self.gathered, self.noted)

    def _batches(self) -> Iterator[IndexRows]:
        """The gathered rows, ids as numbers if all are."""
        with lance_refusals():
            whole, dim = self._rows().count_rows("whole = false") == 0, self.dim()
        texts = (self._about() or {}).get("texts")
        for part in self._scanned(["id", "vector", "text", "payload"], _BATCH):
            ids = part.column("id").to_pylist()
            yield IndexRows(
                ids=[int(one) for one in ids] if whole else ids,
                vectors=matrix_of_column(part.column("vector"), dim)[0],
                texts=part.column("text").to_pylist() if texts else None,
                payload=[json.loads(one) for one in part.column("payload").to_pylist()],
            )

    def _scanned(self, columns: list[str], batch: int) -> Iterator[Any]:
        with lance_refusals():
            scanner = self._rows().to_lance().scanner(columns=columns, batch_size=batch, scan_in_order=True)
            yield from scanner.to_batches()

    def _is_built_of(self, state: bytes) -> bool:
        if self.name not in self._tables():
            return False
        return (self.database.open_table(self.name).schema.metadata or {}).get(_BUILT_OF) == state

    def _rows(self) -> Any:
        return self.database.open_table(self.gathered)

    def _tables(self) -> list[str]:
        return list(self.database.list_tables().tables)

    def _about(self) -> dict[str, Any] | None:
        if self.noted not in self._tables():
            return None
        return note_of(self.database.open_table(self.noted).to_arrow().column("note")[0].as_py())

    def _keep(self, about: dict[str, Any]) -> None:
        there = self.noted in self._tables()
        self.database.create_table(self.noted, [{"note": json.dumps(about)}], mode="overwrite" if there else "create")

    def _forget(self, *tables: str) -> None:
        for name in tables:
            with suppress(ValueError):
                self.database.drop_table(name)
