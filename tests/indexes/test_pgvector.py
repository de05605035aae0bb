"""PostgreSQL as it is met: names that need quotes, keys of every type or none, servers that go away."""

import uuid

import numpy as np
import pytest
from engines import DIM, fill
from pg_ids import KEYS

from alignkit.credentials import redacted
from alignkit.errors import AlignkitError, ConfigError, DataError, EngineError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pg_connection import PgConnection
from alignkit.indexes.pgvector import PgvectorIndex


def everything(index, batch=6):
    return joined(list(index.scan(batch=batch)))


def test_names_that_need_quotes(postgres, connection):
    schema, name = f"My {uuid.uuid4().hex[:6]}", 'Docs; DROP TABLE "x" %s {0}'
    connection.execute(f'CREATE SCHEMA "{schema}"')
    quoted = f'"{schema}"."{name.replace(chr(34), chr(34) * 2)}"'
    connection.execute(
        f'CREATE TABLE {quoted} ("the ""id""" int PRIMARY KEY, "100% {{text}}" text, "Vec tor" vector(2))'
    )
    connection.execute(f"INSERT INTO {quoted} VALUES (1, 'one', '[1,0]'), (2, 'two', '[0,1]')")
    settings = {
        "url": postgres.url,
        "vector": "Vec tor",
        "text": "100% {text}",
        "id": 'the "id"',
        "payload": ["100% {text}"],
    }
    with PgvectorIndex(f"{schema}.{name}", **settings) as index:
        rows = everything(index, 1)
        assert (rows.ids, rows.texts) == ([1, 2], ["one", "two"])
        assert rows.payload == [{"100% {text}": "one"}, {"100% {text}": "two"}]
        assert index.fetch([2]).texts == ["two"] and len(index.sample(1, 0)) == 1
        assert index.search(np.array([[0.1, 1.0]]), 1)[0] == [[2]]
    with pytest.raises(DataError, match="search path"):
        PgvectorIndex(name, url=postgres.url)
    connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.mark.parametrize(("key", "ids"), KEYS)
def test_ids_of_every_type(postgres, connection, table, key, ids):
    vectors = fill(connection, table, f"id {key} PRIMARY KEY", rows=len(ids), ids=ids)
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        rows = everything(index, 1)
        assert len(set(rows.ids)) == len(ids) and sorted(rows.texts) == [f"text {row}" for row in range(len(ids))]
        assert index.fetch(rows.ids[::-1]).ids == rows.ids[::-1]
        assert index.search(vectors[:1], 1)[0] == [[rows.ids[rows.texts.index("text 0")]]]
        assert len(index.sample(2, 0)) == 2


@pytest.mark.parametrize(
    ("key", "id", "words"),
    [
        ("id bigint", None, "no primary key"),
        ("id bigint, other int, PRIMARY KEY (id, body)", None, r"2 columns \(id, body\)"),
        ("id bigint", "id", "no unique index"),
        ("id bigint UNIQUE", "id", "may be NULL"),
        ("id bigint PRIMARY KEY", "nonesuch", "no such column; it has id, body, embedding"),
    ],
)
def test_a_table_whose_rows_cannot_be_told_apart_is_refused(postgres, connection, table, key, id, words):
    key, *rest = key.split(", ", 1)
    constraint = f", {rest[0]}" if rest else ""
    connection.execute(f"CREATE TABLE {table} ({key}, body text, embedding vector(2){constraint})")
    with pytest.raises(DataError, match=words):
        PgvectorIndex(table, url=postgres.url, id=id)


def test_a_unique_column_that_is_filled_names_the_rows(postgres, connection, table):
    fill(connection, table, "slug text UNIQUE NOT NULL", rows=3, ids=["x", "y", "z"])
    with PgvectorIndex(table, url=postgres.url, id="slug") as index:
        assert everything(index).ids == ["x", "y", "z"]


def test_a_view_is_refused_and_a_partitioned_table_read(postgres, connection, table):
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector(2)) PARTITION BY RANGE (id)")
    for part in (0, 1):
        connection.execute(f"CREATE TABLE {table}_{part} PARTITION OF {table} FOR VALUES FROM ({part}0) TO ({part}9)")
    connection.execute(f"INSERT INTO {table} SELECT i, '[1,2]' FROM generate_series(1, 18) i WHERE i <> 9")
    with PgvectorIndex(table, url=postgres.url) as index:
        assert everything(index, 4).ids == [*range(1, 9), *range(10, 19)]
    connection.execute(f"CREATE VIEW {table}_view AS SELECT * FROM {table}")
    with pytest.raises(DataError, match="a view"):
        PgvectorIndex(f"{table}_view", url=postgres.url)


def test_several_columns_of_vectors_are_listed(postgres, connection, table):
    connection.execute(
        f"CREATE TABLE {table} (id int PRIMARY KEY, a vector(2), b halfvec(3), c bit(4), d sparsevec(5))"
    )
    with pytest.raises(DataError, match=r"index.vector=…, none is named") as caught:
        PgvectorIndex(table, url=postgres.url)
    assert ": a, b;" in str(caught.value)
    with pytest.raises(DataError, match="got c"):
        PgvectorIndex(table, url=postgres.url, vector="c")
    with PgvectorIndex(table, url=postgres.url, vector="b") as index:
        assert (index.describe().dim, index.describe().dtype, index.describe().rows) == (3, "float16", 0)
        assert list(index.scan()) == [] and len(index.sample(5, 0)) == 0
    with pytest.raises(DataError, match="index.text=title: .* others are: id, a, c, d"):
        PgvectorIndex(table, url=postgres.url, vector="b", text="title")


def test_half_precision_is_read_and_searched(postgres, connection, table):
    vectors = fill(connection, table, vector=f"halfvec({DIM})")
    with PgvectorIndex(table, url=postgres.url) as index:
        np.testing.assert_allclose(everything(index).vectors, vectors, atol=1e-3)
        assert index.search(vectors[4:5], 1)[0] == [[4]]


def test_a_row_of_another_width_stops_no_search(postgres, connection, table):
    vectors = fill(connection, table, vector="vector")
    connection.execute(f"UPDATE {table} SET embedding = '[1,2]' WHERE id = 4")
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        assert index.search(vectors[3:5], 20)[0][0][0] == 3
        assert index.search(vectors[3:5], 20, where={"body": ["text 3", "text 4"]})[0] == [[3], [3]]


def test_rows_that_come_and_go_during_a_scan_do_no_harm(postgres, connection, table):
    fill(connection, table, ids=range(0, 40, 2))
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        seen = []
        for number, rows in enumerate(index.scan(batch=5)):
            seen += rows.ids
            for one in (1 + 2 * number, 39 - 2 * number):
                connection.execute(f"INSERT INTO {table} VALUES ({one}, 'new', NULL)")
            connection.execute(f"DELETE FROM {table} WHERE id = {2 * number}")
    assert len(seen) == len(set(seen)) and set(range(0, 40, 2)) <= set(seen)


def test_a_scan_goes_on_after_the_server_dropped_its_connections(postgres, connection, table):
    fill(connection, table)
    with PgvectorIndex(table, url=postgres.url) as index:
        seen = []
        for rows in index.scan(batch=5):
            seen += rows.ids
            pid = index.connection.run(lambda opened: opened.info.backend_pid)
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
    assert seen == list(range(20))


def test_the_metric_is_that_of_the_columns_index(postgres, connection, table):
    vectors = fill(connection, table)
    for ops, metric, score in (("ip", "dot", 1.0), ("l2", "l2", 0.0), ("cosine", "cosine", 1.0)):
        connection.execute(f"CREATE INDEX {table}_hnsw ON {table} USING hnsw (embedding vector_{ops}_ops)")
        with PgvectorIndex(table, url=postgres.url) as index:
            assert index.describe().metric == metric
            ids, scores = index.search(vectors[:1], 3)
            assert ids[0][0] == 0 and scores[0, 0] == pytest.approx(score, abs=1e-3) and scores[0, 1] < scores[0, 0]
        connection.execute(f"DROP INDEX {table}_hnsw")


def test_hnsw_gives_as_many_hits_as_are_asked(postgres, connection, table):
    """By default it gives 40, whatever the limit."""
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector(2))")
    connection.execute(f"INSERT INTO {table} SELECT i, ARRAY[cos(i), sin(i)]::vector FROM generate_series(1, 3000) i")
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    connection.execute(f"ANALYZE {table}")
    with PgvectorIndex(table, url=postgres.url) as index:
        assert len(index.search(np.array([[1.0, 0.0]]), 100)[0][0]) == 100


def test_a_server_that_refuses_is_told_in_one_line_without_the_password(postgres, connection, table):
    with pytest.raises(EngineError, match="is the server running") as caught:
        PgConnection("postgresql://me:hunter2secret@127.0.0.1:1/db")
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        PgConnection("host=localhost password=hunter2secret")
    assert "hunter2" not in str(caught.value) and "***" not in redacted(str(caught.value))
    with pytest.raises(DataError, match="no such table"):
        PgvectorIndex(f"{table}'; --", url=postgres.url)
    fill(connection, table)
    connection.execute(f"CREATE ROLE {table}_role; GRANT {table}_role TO postgres")
    with PgvectorIndex(table, url=postgres.url) as index:
        index.connection.run(lambda opened: opened.execute(f"SET ROLE {table}_role"))
        with pytest.raises(EngineError, match="permission denied for table .*; ask the owner"):
            list(index.scan())
    connection.execute(f"DROP ROLE {table}_role")


def test_a_sqlalchemy_url_is_taken_too(postgres, connection, table):
    fill(connection, table, rows=2)
    with PgvectorIndex(table, url=postgres.url.replace("postgresql://", "postgresql+psycopg://")) as index:
        assert len(everything(index)) == 2


def test_a_column_without_any_vector_is_refused(postgres, connection, table):
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector)")
    with pytest.raises(AlignkitError, match="holds no vectors"):
        PgvectorIndex(table, url=postgres.url)
