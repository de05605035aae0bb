"""A table that others write to all the time: verified, compared and cut over with no row left behind."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from engines import DIM, fill, stored, unit_vectors

from alignkit.artifact import Artifact
from alignkit.errors import ConfigError, DataError, EngineError
from alignkit.heads.linear import LinearHead
from alignkit.indexes import pg_cut_over
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pg_last_rows import PgLastRows
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.migration import engine_copy, engine_cut_over
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_compare import compare_by_rows
from alignkit.migration.engine_copy import copy_rows, map_rows
from alignkit.migration.engine_cut_over import cut_over_rows

WIDE, ROWS = 12, 300
torch.manual_seed(0)
HEAD = Artifact({"query_head": LinearHead(DIM, WIDE).eval()})
torch.manual_seed(1)
OTHER_HEAD = Artifact({"query_head": LinearHead(DIM, WIDE).eval()})
FURTHER = unit_vectors(2000, DIM, seed=5)


def expected(vectors):
    return unit_rows(HEAD.align(np.asarray(vectors, np.float32), "document"))


@pytest.fixture
def docs(postgres, connection, table):
    """A table of PostgreSQL with 300 rows, copied."""
    fill(connection, table, rows=ROWS)
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        copy_rows(index, HEAD, "document")
        yield index


def insert(connection, table, row, vector=None):
    vector = FURTHER[row % len(FURTHER)] if vector is None else vector
    connection.execute(
        f"INSERT INTO {table} (id, body, embedding) VALUES (%s, 'new', %s)", (row, str(np.asarray(vector).tolist()))
    )


@contextmanager
def writing(postgres, table):
    """Another program that inserts and changes texts and vectors without a pause, until it cannot any more.

    After the cut-over its vectors are too narrow, as those of any program that was not told would be.
    """
    done, waited, stop = [], [], threading.Event()

    def write():
        from psycopg.errors import DataException

        row = 1000
        with postgres.connect() as other:
            while not stop.is_set():
                started = time.perf_counter()
                try:
                    insert(other, table, row)
                    done.append(row)
                    if row % 5 == 0:
                        other.execute(
                            f"UPDATE {table} SET embedding = %s WHERE id = %s",
                            (str(FURTHER[row % 2000 - 1].tolist()), row % ROWS),
                        )
                        other.execute(f"UPDATE {table} SET body = body || '.' WHERE id = %s", ((row + 7) % ROWS,))
                except DataException:
                    return
                finally:
                    waited.append(time.perf_counter() - started)
                row += 1
                time.sleep(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield done, waited
    finally:
        stop.set()
        thread.join()


def test_a_table_is_cut_over_beside_a_writer_that_never_pauses(docs, postgres, connection, table, monkeypatch):
    for room in (engine_copy, engine_cut_over):  # rows come fast for so small a table
        monkeypatch.setattr(room, "STRAGGLERS", 10.0)
    with writing(postgres, table) as (written, waited):
        while len(written) < 10:
            time.sleep(0.01)
        found = verify_copy(docs, HEAD, "document")
        assert found.since > 0
        compare_by_rows(docs)
        with pytest.raises(DataError, match="rows have no new vector"):
            cut_over_rows(docs, None, "document", force=False)
        done = cut_over_rows(docs, HEAD, "document", force=False)
        assert done.caught_up >= 10
    assert done.held_ms < 1000 and max(waited) < 2
    # every row that was ever committed has the head's vector of its old one, whenever it came
    asked = f"SELECT id FROM {table} WHERE embedding IS NULL"
    assert connection.execute(asked).fetchall() == []
    with docs.replacement().other() as old:
        before = joined(list(old.scan()))
    after = joined(list(docs.scan()))
    assert len(before) == ROWS + len(written) and before.ids == after.ids
    np.testing.assert_allclose(after.vectors, expected(before.vectors), atol=1e-5)
    left = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s", (table,)).fetchall()
    assert not [name for (name,) in left if "alignkit_last" in name]


def test_a_row_that_comes_between_the_count_and_the_lock_is_noticed(docs, connection, table, monkeypatch):
    counted = PgLastRows.count

    def count_and_be_late(last, opened):
        found = counted(last, opened)
        insert(connection, table, 1000)
        return found

    monkeypatch.setattr(PgLastRows, "count", count_and_be_late)
    with pytest.raises(DataError, match="1 rows have no new vector"):
        docs.replacement().cut_over()
    assert docs.replacement().stage() == "begun"
    done = cut_over_rows(docs, HEAD, "document", force=True)
    assert done.caught_up == 1
    np.testing.assert_allclose(docs.fetch([1000]).vectors, expected(FURTHER[1000:1001]), atol=1e-5)


def test_more_rows_than_are_written_while_the_table_is_held_are_written_first(docs, connection, table, monkeypatch):
    """The table is let go, so that nobody waits for them."""
    monkeypatch.setattr(pg_cut_over, "MOST_HELD", 2)
    caught_up, late = pg_cut_over.PgCutOver._catch_up, iter([range(1000, 1003), range(1003, 1005)])

    def catch_up_and_be_late(this, mapped):
        written = caught_up(this, mapped)
        for row in next(late):
            insert(connection, table, row)
        return written

    monkeypatch.setattr(pg_cut_over.PgCutOver, "_catch_up", catch_up_and_be_late)
    done = docs.replacement().cut_over(mapped=lambda rows: map_rows(rows, HEAD, "document"))
    assert (done.caught_up, done.held_up) == (5, 2)
    assert joined(list(docs.scan())).faults == {}


def test_rows_that_come_faster_than_they_are_written_stop_the_cut_over(docs, connection, table, monkeypatch):
    monkeypatch.setattr(pg_cut_over, "MOST_HELD", -1)
    monkeypatch.setattr(pg_cut_over, "_TRIES", 2)
    insert(connection, table, 1000)
    with pytest.raises(EngineError, match="come faster than their new vectors can be written; nothing was cut over"):
        docs.replacement().cut_over(mapped=lambda rows: map_rows(rows, HEAD, "document"))
    assert docs.replacement().stage() == "begun"


def test_many_new_rows_are_for_a_copy_and_another_look(docs, connection, table):
    connection.execute(f"INSERT INTO {table} SELECT id + 1000, body, embedding FROM {table} WHERE id < 40")
    with pytest.raises(DataError, match="40 rows have no new vector yet"):
        verify_copy(docs, HEAD, "document")
    connection.execute(f"DELETE FROM {table} WHERE id >= 1030")
    assert verify_copy(docs, HEAD, "document").since == 30
    compare_by_rows(docs)
    with pytest.raises(ConfigError, match="another head"):
        cut_over_rows(docs, OTHER_HEAD, "document", force=False)
    connection.execute(f"INSERT INTO {table} SELECT id + 2000, body, embedding FROM {table} WHERE id <= 30")
    with pytest.raises(DataError, match="more than 36 rows have no new vector; write them with step=copy"):
        cut_over_rows(docs, HEAD, "document", force=False)
    assert cut_over_rows(docs, HEAD, "document", force=True).caught_up == 61


def test_rows_with_nothing_to_map_are_not_waited_for(postgres, connection, table):
    fill(connection, table, vector="vector")
    connection.execute(f"UPDATE {table} SET embedding = NULL WHERE id = 3")
    connection.execute(f"UPDATE {table} SET embedding = %s WHERE id = 4", (str([0.0] * DIM),))
    connection.execute(f"UPDATE {table} SET embedding = '[1,2,3]' WHERE id = 5")
    with PgvectorIndex(table, url=postgres.url) as index:
        copy_rows(index, HEAD, "document")
        insert(connection, table, 1000, [1e-30] * DIM)  # whose square is 0 in single precision
        with pytest.raises(DataError, match="1 rows have no new vector"):
            index.replacement().cut_over()
        assert cut_over_rows(index, HEAD, "document", force=True).caught_up == 1
        assert list(joined(list(index.scan())).faults) == [3, 4, 5]


def test_what_a_trigger_puts_off_does_not_stop_the_cut_over(docs, connection, table, monkeypatch):
    """PostgreSQL refuses to change a table while its own triggers are still to run."""
    monkeypatch.setattr(pg_cut_over, "_TRIES", 1)
    monkeypatch.setattr(pg_cut_over.PgCutOver, "_catch_up", lambda this, mapped: 0)
    connection.execute(
        f"CREATE FUNCTION {table}_f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        f" CREATE CONSTRAINT TRIGGER later AFTER UPDATE OF embedding_alignkit_new ON {table}"
        f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {table}_f()"
    )
    insert(connection, table, 1000)
    assert cut_over_rows(docs, HEAD, "document", force=True).held_up == 1
    assert joined(list(docs.scan())).faults == {}


def test_a_partitioned_table_is_cut_over_with_the_rows_that_came(postgres, connection, table):
    connection.execute(
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, embedding vector({DIM})) PARTITION BY RANGE (id);"
        f" CREATE TABLE {table}_a PARTITION OF {table} FOR VALUES FROM (0) TO (10);"
        f" CREATE TABLE {table}_b PARTITION OF {table} FOR VALUES FROM (10) TO (9999)"
    )
    for row in range(20):
        insert(connection, table, row)
    with PgvectorIndex(table, url=postgres.url) as index:
        copy_rows(index, HEAD, "document")
        insert(connection, table, 1000)
        assert cut_over_rows(index, HEAD, "document", force=True).caught_up == 1
        assert joined(list(index.scan())).faults == {}


@pytest.mark.parametrize("engine", ["lancedb", "sqlite_vec"])
def test_engines_that_hold_nobody_up_write_what_is_left_first(engine, tmp_path, request):
    made = stored(engine, tmp_path, request)
    with made.open() as index:
        replacement = index.replacement()
        replacement.begin(WIDE)
        rows = next(replacement.missing(16))
        written = replacement.write(rows, map_rows(rows, HEAD, "document"))
        replacement.build_index()
        done = cut_over_rows(index, HEAD, "document", force=True)
        assert (done.caught_up, done.held_up) == (len(made.ids) - written, None)
    with made.open() as index:
        rows = joined(list(index.scan()))
        order = [rows.ids.index(one) for one in made.ids]
        np.testing.assert_allclose(rows.vectors[order], expected(unit_vectors()), atol=1e-5)


def test_a_text_that_changes_while_it_is_read_back_is_read_again(postgres, connection, table, docs, monkeypatch):
    """Not taken for one that was changed while it was copied."""
    fetched, changed = PgvectorIndex.fetch, []

    def fetch_late(index, ids):
        if not changed:
            changed.append(connection.execute(f"UPDATE {table} SET body = 'late' WHERE id = 7"))
        return fetched(index, ids)

    monkeypatch.setattr(PgvectorIndex, "fetch", fetch_late)
    monkeypatch.setattr(PgvectorIndex, "sample", lambda index, count, seed: next(index.scan(batch=ROWS)))
    assert verify_copy(docs, HEAD, "document").read_back == ROWS
    assert changed
