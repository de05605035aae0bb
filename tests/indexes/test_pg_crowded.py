"""Replacing a column of PostgreSQL that others read and write at once: nobody waits for long, nothing is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from engines import DIM, fill

from alignkit.errors import EngineError
from alignkit.indexes import pg_changes
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pgvector import PgvectorIndex


@pytest.fixture
def begun(postgres, connection, table):
    """A replacement of 20 rows by their opposites, all written but for one."""
    fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        for rows in replacement.missing():
            assert replacement.write(rows, -rows.vectors) == 20
        yield replacement


@contextmanager
def holding(postgres, statement):
    """Another program that has done this in a transaction which it does not end."""
    with postgres.connect() as other, other.transaction():
        other.execute("SET LOCAL application_name = 'night report'")
        other.execute(statement)
        yield other


def test_nobody_queues_behind_a_cut_over_that_waits_for_a_long_transaction(
    begun, postgres, connection, table, monkeypatch
):
    monkeypatch.setattr(pg_changes, "_PAUSE_S", (0.02, 0.04))
    waited = []
    with ThreadPoolExecutor(1) as pool:
        with holding(postgres, f"SELECT * FROM {table} LIMIT 1"):
            cut_over = pool.submit(begun.cut_over)
            for _ in range(20):
                started = time.perf_counter()
                connection.execute(f"UPDATE {table} SET body = body || '.' WHERE id = 1")
                connection.execute(f"SELECT * FROM {table} LIMIT 1")
                waited.append(time.perf_counter() - started)
                time.sleep(0.01)
            assert not cut_over.done()
        cut_over.result(timeout=20)
    assert begun.stage() == "cut over"
    # they wait behind it for a twentieth of a second; it waited two, or as long as the transaction took
    assert max(waited) < 1


def test_who_holds_the_table_is_said_where_patience_ends(begun, postgres, table, monkeypatch):
    monkeypatch.setattr(pg_changes, "PATIENCE_S", 0.0)
    with holding(postgres, f"SELECT * FROM {table} LIMIT 1") as other:
        said = (
            rf"table {table} is in use by process {other.info.backend_pid} \(night report\), idle in a transaction of"
        )
        with pytest.raises(EngineError, match=f"{said} 0 s, and would .* nothing was changed") as caught:
            begun.cut_over()
        assert "\n" not in str(caught.value)
    assert begun.stage() == "begun"
    begun.cut_over()


def test_rows_that_another_transaction_holds_are_passed_over_and_given_again(postgres, connection, table):
    vectors = fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        [rows] = replacement.missing()
        with holding(postgres, f"UPDATE {table} SET body = 'changed' WHERE id IN (3, 4)"):
            assert replacement.write(rows, -rows.vectors) == 18
            assert joined(list(replacement.missing())).ids == [3, 4]
        [rows] = replacement.missing()
        assert replacement.write(rows, -rows.vectors) == 2
        replacement.cut_over()
        np.testing.assert_allclose(joined(list(index.scan())).vectors, -vectors, atol=1e-6)


def test_a_strict_default_of_the_users_does_not_refuse_rows_that_change_meanwhile(postgres, connection, table):
    fill(connection, table)
    connection.execute(
        f"CREATE ROLE {table} SUPERUSER; ALTER ROLE {table} SET default_transaction_isolation = 'serializable'"
    )
    with PgvectorIndex(table, url=postgres.url) as index:
        index.connection.run(lambda opened: opened.execute(f"SET SESSION AUTHORIZATION {table}"))
        replacement = index.replacement()
        replacement.begin(DIM)
        [rows] = replacement.missing()
        connection.execute(f"UPDATE {table} SET body = 'changed' WHERE id = 3")
        assert replacement.write(rows, -rows.vectors) == 19
    connection.execute(f"REASSIGN OWNED BY {table} TO postgres; DROP OWNED BY {table}; DROP ROLE {table}")


def test_a_batch_does_not_read_the_whole_table(postgres, connection, table):
    """PostgreSQL does not know how many rows a new table has, and guessed too many: each batch read all rows."""
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector({DIM}))")
    vector = f"array_agg(random()::real)::vector FROM generate_series(1, {DIM}) WHERE i > 0"
    connection.execute(f"INSERT INTO {table} SELECT i, (SELECT {vector}) FROM generate_series(1, 3000) i")
    connection.execute(f"ANALYZE {table}")
    counted = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = %s::regclass"
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        rows = next(replacement.missing(1000))
        seen = []
        for _ in range(2):
            index.connection.run(lambda opened: opened.execute("SELECT pg_stat_force_next_flush()"))
            index.connection.run(lambda opened: opened.execute("SELECT 1"))
            seen.append(connection.execute(counted, (table,)).fetchone()[0])
            replacement.write(rows, -rows.vectors)
        index.connection.run(lambda opened: opened.execute("SELECT pg_stat_force_next_flush()"))
        index.connection.run(lambda opened: opened.execute("SELECT 1"))
        assert connection.execute(counted, (table,)).fetchone()[0] == seen[0]


TOUCH = (
    "CREATE FUNCTION {0}_touch() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN NEW.body := NEW.body || ''!''; RETURN NEW; END'"
)


@pytest.mark.parametrize("may", [True, False])
def test_the_tables_own_triggers_are_passed_over_or_named(postgres, connection, table, may):
    """One that keeps the time of the last change would give every row the time of the copy."""
    fill(connection, table, rows=3)
    connection.execute(TOUCH.format(table))
    for name, when in (("touch", "UPDATE"), ("unlike", "UPDATE OF id"), ("fresh", "INSERT")):
        connection.execute(
            f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_touch()"
        )
    connection.execute(
        f"CREATE ROLE {table}; ALTER TABLE {table} OWNER TO {table}; GRANT CREATE ON SCHEMA public TO {table}"
    )
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        if not may:
            index.connection.run(lambda opened: opened.execute(f"SET ROLE {table}"))
        replacement = index.replacement()
        said = f"own trigger touch {'does not run' if may else 'runs'} for the rows"
        assert said in replacement.way(DIM)
        replacement.begin(DIM)
        for rows in replacement.missing():
            assert replacement.write(rows, -rows.vectors) == 3
        assert joined(list(index.scan())).texts == [f"text {row}{'' if may else '!'}" for row in range(3)]
        # as before for everybody else, and for us at other times
        connection.execute(f"UPDATE {table} SET embedding = NULL WHERE id = 0")
        assert joined(list(index.scan())).texts[0] == f"text 0{'' if may else '!'}!"
    connection.execute(f"DROP TABLE {table}; DROP FUNCTION {table}_touch; DROP OWNED BY {table}; DROP ROLE {table}")


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ("GRANT SELECT ON {0} TO {0}", "be a member of postgres, who owns table"),
        ("ALTER TABLE {0} OWNER TO {0}", "have CREATE on schema public"),
        ("ALTER TABLE {0} OWNER TO {0}; ALTER ROLE {0} SET default_transaction_read_only = on", "only reads"),
    ],
)
def test_rights_that_are_missing_are_named_before_anything_is_changed(postgres, connection, table, rights, said):
    fill(connection, table, rows=3)
    connection.execute(f"CREATE ROLE {table}")
    connection.execute(rights.format(table))
    with PgvectorIndex(table, url=postgres.url) as index:
        reads = "read_only" in rights
        asked = f"SET ROLE {table}; SET default_transaction_read_only = {'on' if reads else 'off'}"
        index.connection.run(lambda opened: opened.execute(asked))
        for step in (index.replacement().way, index.replacement().begin):
            with pytest.raises(EngineError, match=said) as caught:
                step(DIM)
            assert "\n" not in str(caught.value)
        assert index.replacement().stage() == "untouched"
    connection.execute(f"DROP TABLE {table}; DROP OWNED BY {table}; DROP ROLE {table}")


def test_two_who_build_the_index_at_once_build_one(begun, postgres, connection, table):
    ready = threading.Barrier(2)

    def build(_):
        with PgvectorIndex(table, url=postgres.url) as index:
            ready.wait()
            return index.replacement().build_index()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(build, range(2))) == ["HNSW by cosine"] * 2
    found = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s ORDER BY 1", (table,)).fetchall()
    assert [name for (name,) in found] == [f"{table}_4_alignkit_hnsw", f"{table}_pkey"]


def test_two_who_cut_over_at_once_do_it_once(begun, postgres, connection, table):
    ready = threading.Barrier(2)

    def cut_over(_):
        with PgvectorIndex(table, url=postgres.url) as index:
            replacement = index.replacement()
            replacement.stage()
            ready.wait()
            try:
                replacement._cut_over(False)  # both have found that it is time
            except EngineError as error:
                return str(error)
            return "done"

    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(cut_over, range(2)), key=len)
    assert first == "done" and "the table has changed meanwhile; look with step=status" in second
    columns = [one.name for one in connection.execute(f"SELECT * FROM {table}").description]
    assert columns == ["id", "body", "embedding_alignkit_old", "embedding"]
