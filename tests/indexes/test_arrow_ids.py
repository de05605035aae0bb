"""Tables of Parquet and LanceDB whose rows are named by values of every type, or by some that name none."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import unit_vectors

from alignkit.errors import DataError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.lancedb import LancedbIndex
from alignkit.indexes.parquet import ParquetIndex

ROWS, DIM, WIDE = 9, 8, 4
DAY = datetime.datetime(2020, 1, 1, 3, 4, 5, 6)
IDS = {
    "uint64": pa.array([2**63 + row for row in range(ROWS)], pa.uint64()),
    "int8": pa.array([row - 4 for row in range(ROWS)], pa.int8()),
    "string": pa.array([f"d'{row};" for row in range(ROWS)]),
    "large_string": pa.array([f"d{row}" for row in range(ROWS)], pa.large_string()),
    "string_view": pa.array([f"d{row}" for row in range(ROWS)]).cast(pa.string_view()),
    "dictionary": pa.array([f"d{row}" for row in range(ROWS)]).dictionary_encode(),
    "binary": pa.array([bytes([row, 255]) for row in range(ROWS)]),
    "uuid": pa.array([bytes([row] * 16) for row in range(ROWS)], pa.binary(16)),
    "date": pa.array([DAY.date() + datetime.timedelta(row) for row in range(ROWS)]),
    "timestamp": pa.array([DAY + datetime.timedelta(row) for row in range(ROWS)], pa.timestamp("us", "UTC")),
    "time": pa.array([datetime.time(row) for row in range(ROWS)]),
    "duration": pa.array([datetime.timedelta(row) for row in range(ROWS)]),
    "double": pa.array([row + 0.1 for row in range(ROWS)]),
    "decimal": pa.array([decimal.Decimal(row) / 4 for row in range(ROWS)], pa.decimal128(10, 2)),
}


def lance(folder, table):
    lancedb = pytest.importorskip("lancedb")
    lancedb.connect(folder).create_table("docs", table)
    return LancedbIndex(str(folder), "docs")


def parquet(folder, table):
    pq.write_table(table, folder / "docs.parquet")
    return ParquetIndex(str(folder / "docs.parquet"), id="id")


def table_of(ids):
    vectors = pa.array(unit_vectors(ROWS).tolist(), pa.list_(pa.float32(), DIM))
    return pa.table({"id": ids, "embedding": vectors})


@pytest.mark.parametrize("engine", [lance, parquet])
@pytest.mark.parametrize("kind", IDS)
def test_ids_of_every_type(tmp_path, engine, kind):
    made = unit_vectors(ROWS, WIDE, seed=3)
    with engine(tmp_path, table_of(IDS[kind])) as index:
        ids = IDS[kind].to_pylist()
        assert joined(list(index.scan(batch=4))).ids == ids
        assert index.fetch([ids[4], "nonesuch", 17**9, ids[2]]).ids == [ids[4], ids[2]]
        replacement = index.replacement()
        replacement.begin(WIDE)
        for rows in [next(replacement.missing(4)), next(index.scan(batch=4)), *replacement.missing(4)]:
            replacement.write(rows, made[[ids.index(one) for one in rows.ids]])
        replacement.build_index()
        replacement.cut_over()
        rows = joined(list(index.scan()))
        assert rows.ids == ids
        np.testing.assert_allclose(rows.vectors, made, atol=1e-6)
        assert index.search(made[2:3], 1)[0] == [[ids[2]]]


@pytest.mark.parametrize("engine", [lance, parquet])
def test_ids_that_name_no_row_are_refused(tmp_path, engine):
    (tmp_path / "lists").mkdir()
    with pytest.raises(DataError, match="index.id=id: expected numbers, texts or other single values, got list"):
        engine(tmp_path / "lists", table_of(pa.array([[row] for row in range(ROWS)])))
    (tmp_path / "twice").mkdir()
    with engine(tmp_path / "twice", table_of(pa.array([0, 0, *range(2, ROWS)]))) as index:
        with pytest.raises(DataError, match="1 (rows have the id of another|ids in column 'id' stand twice)"):
            index.replacement().begin(WIDE)
        assert index.replacement().stage() == "untouched"
