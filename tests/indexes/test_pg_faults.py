"""A replacement in PostgreSQL whose server goes away, runs full or stops what takes long: nothing is lost."""

import threading

import numpy as np
import pytest
from engines import DIM, fill
from flaky_postgres import FlakyPostgres

from alignkit.errors import EngineError
from alignkit.indexes import pg_connection
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pgvector import PgvectorIndex


@pytest.fixture
def flaky(postgres, monkeypatch):
    monkeypatch.setattr(pg_connection, "WAITS_S", (0.02,) * 50)
    server = FlakyPostgres(postgres.url)
    yield server
    server.go_away()


def copied(index, on_batch=lambda number: None):
    replacement = index.replacement()
    replacement.begin(DIM)
    for number, rows in enumerate(replacement.missing(4)):
        on_batch(number)
        replacement.write(rows, -rows.vectors)
    return replacement


def test_a_server_that_goes_away_and_comes_back_is_waited_for(flaky, connection, table):
    vectors = fill(connection, table)
    with PgvectorIndex(table, url=flaky.url) as index:

        def away(number):
            if number in (1, 3):
                flaky.go_away()
                threading.Timer(0.1, flaky.come_back).start()

        replacement = copied(index, away)
        flaky.go_away()
        flaky.come_back()
        assert replacement.build_index() == "HNSW by cosine"
        flaky.go_away()
        flaky.come_back()
        replacement.cut_over()
        flaky.go_away()
        flaky.come_back()
        rows = joined(list(index.scan()))
    assert rows.ids == list(range(20))
    np.testing.assert_allclose(rows.vectors, -vectors, atol=1e-6)


def test_a_server_that_stays_away_is_one_line_and_the_next_copy_goes_on(flaky, connection, table, monkeypatch):
    fill(connection, table)
    with PgvectorIndex(table, url=flaky.url) as index:

        def away(number):
            if number == 2:
                monkeypatch.setattr(pg_connection, "WAITS_S", (0.01,))
                flaky.go_away()

        with pytest.raises(EngineError, match=r"PostgreSQL: .*is the server running") as caught:
            copied(index, away)
        assert "\n" not in str(caught.value)
    flaky.come_back()
    with PgvectorIndex(table, url=flaky.url) as index:
        replacement = index.replacement()
        assert joined(list(replacement.missing())).ids == list(range(8, 20))
        copied(index)
        replacement.cut_over()


# what a server says when its disk is full, from the server itself
FULL = """CREATE FUNCTION {0}_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER disk BEFORE UPDATE OF embedding_alignkit_new ON {0} FOR EACH ROW
    WHEN (OLD.id = 9) EXECUTE FUNCTION {0}_full();
    ALTER TABLE {0} ENABLE ALWAYS TRIGGER disk"""


def test_a_disk_that_is_full_loses_nothing_and_the_next_copy_goes_on(postgres, connection, table):
    fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        connection.execute(FULL.format(table))
        with pytest.raises(EngineError, match="No space left on device; free some space .*: it continues") as caught:
            copied(index)
        assert "\n" not in str(caught.value)
        assert joined(list(replacement.missing())).ids == list(range(8, 20))  # two whole batches are there
        connection.execute(f"DROP FUNCTION {table}_full CASCADE")
        copied(index).cut_over()


def test_a_time_limit_of_the_users_does_not_stop_the_building_of_an_index(postgres, connection, table):
    """It waits for everybody who is at work on the table, and may take hours."""
    fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index, postgres.connect() as other:
        replacement = copied(index)
        index.connection.run(lambda opened: opened.execute("SET statement_timeout = '300ms'"))
        other.execute("BEGIN")
        other.execute(f"UPDATE {table} SET body = 'changed' WHERE id = 1")
        done = threading.Timer(0.7, lambda: other.execute("COMMIT"))
        done.start()
        assert replacement.build_index() == "HNSW by cosine"
        done.join()
        with pytest.raises(EngineError, match="statement timeout; .*it continues"):
            index.connection.run(lambda opened: opened.execute("SELECT pg_sleep(1)"))
