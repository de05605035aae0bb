"""A column of PostgreSQL is replaced whatever things are called, and whatever its rows are named by."""

import uuid

import numpy as np
import pytest
from engines import DIM, fill
from pg_ids import KEYS

from alignkit.indexes.index_rows import joined
from alignkit.indexes.pgvector import PgvectorIndex


def replaced(index):
    replacement = index.replacement()
    replacement.begin(index.describe().dim)
    written = sum(replacement.write(rows, -rows.vectors) for rows in replacement.missing(2))
    replacement.build_index()
    replacement.keep_note({"said": 1})
    replacement.cut_over()
    assert replacement.note() == {"said": 1}
    return written


def test_names_that_need_quotes(postgres, connection):
    """Also one that would end the body of the trigger's function."""
    schema, name = f"My {uuid.uuid4().hex[:6]}", 'Docs; DROP TABLE "x" %s {0}'
    column = """Vec'tor$$; $alignkit$ "x" %s"""
    quoted = [f'"{one.replace(chr(34), chr(34) * 2)}"' for one in (schema, name, column)]
    place = ".".join(quoted[:2])
    connection.execute(f"CREATE SCHEMA {quoted[0]}")
    connection.execute(f'CREATE TABLE {place} ("the ""id"" %" int PRIMARY KEY, {quoted[2]} vector(2))')
    connection.execute(f"INSERT INTO {place} VALUES (1, '[1,0]'), (2, '[0,1]')")
    with PgvectorIndex(f"{schema}.{name}", url=postgres.url, vector=column) as index:
        replacement = index.replacement()
        assert replaced(index) == 2
        replacement.roll_back()
        # the trigger is there again, and knows the column
        connection.execute(f'UPDATE {place} SET {quoted[2]} = \'[5,5]\' WHERE "the ""id"" %" = 2')
        assert joined(list(replacement.missing())).ids == [2]
        replacement.cut_over(force=True)
        replacement.drop_old()
    left = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace", (quoted[0],))
    assert left.fetchall() == []
    connection.execute(f"DROP SCHEMA {quoted[0]} CASCADE")


def test_two_tables_whose_names_run_together_do_not_share_a_trigger(postgres, connection, table):
    """Table `t`, column `b_c`, and table `t_b`, column `c`."""
    tables = [(table, "b_c"), (f"{table}_b", "c")]
    for name, column in tables:
        connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, {column} vector(2))")
        connection.execute(f"INSERT INTO {name} VALUES (1, '[1,2]'), (2, '[1,3]')")
        with PgvectorIndex(name, url=postgres.url) as index:
            index.replacement().begin(2)
    for name, column in tables:
        connection.execute(f"UPDATE {name} SET {column} = '[5,6]' WHERE id = 1")
        with PgvectorIndex(name, url=postgres.url) as index:
            assert replaced(index) == 2
    connection.execute(f"DROP TABLE {table}_b")


def test_a_table_that_is_renamed_meanwhile_keeps_no_trigger_of_ours(postgres, connection, table):
    """It would refuse every change of a vector after the cut-over, where the column is no more."""
    fill(connection, f"{table}_before", rows=3)
    with PgvectorIndex(f"{table}_before", url=postgres.url) as index:
        index.replacement().begin(DIM)
    connection.execute(f"ALTER TABLE {table}_before RENAME TO {table}")
    with PgvectorIndex(table, url=postgres.url) as index:
        assert replaced(index) == 3
    connection.execute(f"UPDATE {table} SET embedding = NULL WHERE id = 1")
    left = connection.execute("SELECT proname FROM pg_proc WHERE proname LIKE %s", (f"{table}%",)).fetchall()
    assert left == []


@pytest.mark.parametrize(("key", "ids"), KEYS)
def test_ids_of_every_type(postgres, connection, table, key, ids):
    vectors = fill(connection, table, f"id {key} PRIMARY KEY", rows=len(ids), ids=ids)
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        assert replaced(index) == len(ids)
        rows = joined(list(index.scan()))
    order = [int(text.removeprefix("text ")) for text in rows.texts]
    np.testing.assert_allclose(rows.vectors, -vectors[order], atol=1e-6)
