"""Replacing a column of PostgreSQL while others use the table: changes, locks, views, rights, widths, kills."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from engines import DIM, fill, unit_vectors

from alignkit.errors import DataError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pgvector import PgvectorIndex


def copy(replacement, batch=6):
    """A head that turns vectors round."""
    return sum(replacement.write(rows, -rows.vectors) for rows in replacement.missing(batch))


def test_rows_inserted_changed_and_deleted_meanwhile_are_caught_up(postgres, connection, table):
    vectors = fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        assert copy(replacement) == 20
        connection.execute(f"UPDATE {table} SET embedding_alignkit_new = NULL WHERE id < 3")
        read = next(replacement.missing(3))  # rows 0 to 2, then two of them change
        connection.execute(f"UPDATE {table} SET embedding = %s WHERE id IN (1, 7)", (str(vectors[9].tolist()),))
        connection.execute(f"UPDATE {table} SET body = 'other' WHERE id = 8")
        connection.execute(f"INSERT INTO {table} VALUES (99, 'new', %s)", (str(vectors[4].tolist()),))
        connection.execute(f"DELETE FROM {table} WHERE id = 2")
        assert replacement.write(read, -read.vectors) == 1  # neither the changed one nor the deleted one
        with pytest.raises(DataError, match="3 rows have no new vector"):
            replacement.cut_over()
        assert joined(list(replacement.missing())).ids == [1, 7, 99]
        assert copy(replacement) == 3
        replacement.cut_over()
        rows = joined(list(index.scan()))
        expected = {one: -vectors[one] for one in range(20)} | {1: -vectors[9], 7: -vectors[9], 99: -vectors[4]}
        del expected[2]
        assert rows.ids == list(expected)
        np.testing.assert_allclose(rows.vectors, list(expected.values()), atol=1e-6)
        # from now on the column is an ordinary one
        connection.execute(f"UPDATE {table} SET embedding = %s WHERE id = 1", (str(vectors[3].tolist()),))
        connection.execute(f"INSERT INTO {table} VALUES (100, 'newer', NULL)")
        replacement.roll_back()
        assert joined(list(index.scan())).faults == {20: "it has no vector"}
        replacement.give_up()
    left = connection.execute("SELECT proname FROM pg_proc WHERE proname LIKE %s", (f"{table}%",)).fetchall()
    assert left == []


def test_rows_that_have_nothing_to_map_do_not_stop_the_cut_over(postgres, connection, table):
    fill(connection, table)
    connection.execute(f"UPDATE {table} SET embedding = NULL WHERE id = 3")
    connection.execute(f"UPDATE {table} SET embedding = %s WHERE id = 4", (str([0.0] * DIM),))
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        assert copy(replacement) == 18
        replacement.cut_over()
        assert list(joined(list(index.scan())).faults) == [3, 4]


def test_a_column_that_may_not_be_null_is_replaced(postgres, connection, table):
    fill(connection, table, vector=f"vector({DIM}) NOT NULL")
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        copy(replacement)
        replacement.cut_over()
        connection.execute(f"INSERT INTO {table} (id, embedding) VALUES (50, %s)", (str([1.0] * DIM),))
        assert index.fetch([50]).faults == {}


@pytest.mark.parametrize(
    ("dim", "kind", "said"), [(2001, "halfvec", "HNSW"), (4001, "vector", "none: pgvector indexes")]
)
def test_wide_vectors_are_stored_and_searched_as_pgvector_can(postgres, connection, table, dim, kind, said):
    fill(connection, table, rows=5)
    wide = unit_vectors(5, dim)
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(dim)
        for rows in replacement.missing():
            replacement.write(rows, wide)
        for _ in range(2):  # built once
            assert said in replacement.build_index()
        replacement.cut_over()
        assert (index.describe().dim, index.rows.table.vector_type) == (dim, kind)
        assert index.search(wide[3:4], 1)[0] == [[3]]
    count = connection.execute("SELECT count(*) FROM pg_indexes WHERE tablename = %s", (table,)).fetchone()[0]
    assert count == 1 + said.startswith("HNSW")


def test_an_index_whose_building_was_interrupted_is_built_anew(postgres, connection, table):
    fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        copy(replacement)
        replacement.build_index()
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indrelid = %s::regclass AND NOT indisprimary", (table,)
        )
        replacement.build_index()
    valid = connection.execute("SELECT indisvalid FROM pg_index WHERE indrelid = %s::regclass", (table,)).fetchall()
    assert valid == [(True,), (True,)]


def test_a_view_that_would_go_on_with_the_old_vectors_stops_the_cut_over(postgres, connection, table):
    fill(connection, table)
    connection.execute(f"CREATE VIEW {table}_view AS SELECT id, embedding FROM {table}")
    connection.execute(f"CREATE VIEW {table}_other AS SELECT id, body FROM {table}")
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        replacement.begin(DIM)
        copy(replacement)
        with pytest.raises(DataError, match=f"cannot cut over: {table}_view would go on with the old vectors"):
            replacement.cut_over()
        replacement.cut_over(force=True)
        assert replacement.stage() == "cut over"


def test_long_names_are_not_cut_into_each_other(postgres, connection, table):
    """PostgreSQL cuts names at 63 bytes without a word, and these two begin alike."""
    columns = ["ü" * 31, "ü" * 30 + "x"]
    made = ", ".join(f'"{column}" vector(2)' for column in columns)
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {made})")
    connection.execute(f"INSERT INTO {table} VALUES (1, '[1,2]', '[3,4]')")
    for column in columns:
        with PgvectorIndex(table, url=postgres.url, vector=column) as index:
            replacement = index.replacement()
            assert replacement.stage() == "untouched"
            replacement.begin(2)
            copy(replacement)
    for column, vector in zip(columns, ([1, 2], [3, 4]), strict=True):
        with PgvectorIndex(table, url=postgres.url, vector=column) as index:
            index.replacement().cut_over()
            np.testing.assert_array_equal(joined(list(index.scan())).vectors, -np.array([vector]))


COPYING = """
import sys
from alignkit.indexes.pgvector import PgvectorIndex
with PgvectorIndex(sys.argv[2], url=sys.argv[1]) as index:
    replacement = index.replacement()
    replacement.begin(8)
    print("begun", flush=True)
    for rows in replacement.missing(2):
        replacement.write(rows, -rows.vectors)
"""


def test_a_copy_killed_at_any_moment_goes_on(postgres, connection, table):
    vectors = fill(connection, table, rows=200)
    counted = f"SELECT count(*) FROM {table} WHERE embedding_alignkit_new IS NOT NULL"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", COPYING, postgres.url, table], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"begun\n" or os.name == "nt"
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        process.communicate()
    with PgvectorIndex(table, url=postgres.url) as index:
        replacement = index.replacement()
        assert replacement.stage() == "begun"
        done = connection.execute(counted).fetchone()[0]
        assert copy(replacement, 64) == 200 - done
        replacement.cut_over()
        np.testing.assert_allclose(joined(list(index.scan())).vectors, -vectors, atol=1e-6)
