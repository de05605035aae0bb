"""A new table of Parquet, written from the rows of another index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignkit.errors import ConfigError
from alignkit.indexes.arrow_payload import whole_batches
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.new_file import NewFile
from alignkit.indexes.parquet import ParquetIndex
from alignkit.indexes.parquet_replacement import ROWS_A_GROUP
from alignkit.indexes.replacing import setting
from alignkit.object_storage.located import is_address

_SUFFIX = ".parquet"


class NewParquetIndex(NewFile):
    """One table with a column for ids, texts, vectors and each field of the payload; see `NewFile`.

    A field whose values have no type in common is written as JSON, times and bytes as text.

    Args:
        path: of the table, which ends in `.parquet`.
        vector: the column of vectors; `None` for "embedding".
        text: the column of texts; `None` for "text".
        id: the column of ids; `None` for "id".
        payload: all is kept.
        metric: that searches will order by, which is a setting of who reads it.
    """

    def __init__(
        self,
        path: str,
        vector: str | None = None,
        text: str | None = None,
        id: str | None = None,
        payload: Sequence[str] = (),
        metric: Metric = "cosine",
    ) -> None:
        if is_address(path):
            raise ConfigError(f"{setting('path')}={path}: a new table is gathered on a disk; name a file there")
        if Path(path).suffix.lower() != _SUFFIX:
            raise ConfigError(f"{setting('path')}={path}: expected the name of a file that ends in {_SUFFIX}")
        super().__init__(Path(path).expanduser())
        self.vector, self.text, self.id, self.metric = vector or "embedding", text or "text", id or "id", metric
        self.own_fields = (self.vector, self.text, self.id)

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            "rows are gathered in a file beside it, and written as one table of Parquet, which gets its name at "
            "cut_over; rows that come later need the step copy again, which writes it whole"
        )

    def build(self, dim: int, metric: Metric, *files: Path) -> str:
        """See `NewFile`."""
        import pyarrow.parquet as pq

        writer, count = None, 0
        try:
            names = self.id, self.text, self.vector
            for batch in whole_batches(lambda: self.gathered.batches(dim, ROWS_A_GROUP), *names):
                writer = writer or pq.ParquetWriter(files[0], batch.schema, use_dictionary=False)
                writer.write_batch(batch)
                count += len(batch)
        finally:
            if writer is not None:
                writer.close()
        return f"a table of {count:,} rows"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        (path,) = self.current()
        text = self.text if self.text in ParquetIndex(str(path), self.vector).schema.names else None
        return ParquetIndex(str(path), self.vector, text, self.id, ["*"], self.metric)
