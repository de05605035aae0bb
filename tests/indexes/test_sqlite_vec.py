"""sqlite-vec as it is met: its kinds of columns, its zero vectors, tables that change while they are replaced."""

import json

import numpy as np
import pytest
from engines import DIM, WIDE, copied, unit_vectors, widened

from alignkit.errors import DataError, EngineError
from alignkit.indexes import sqlite_file
from alignkit.indexes.index_rows import joined
from alignkit.indexes.sqlite_vec import SqliteVecIndex

apsw = pytest.importorskip("apsw")
sqlite_vec = pytest.importorskip("sqlite_vec")
# every kind of column that vec0 has
KINDS = (
    f"slug text primary key, embedding float[{DIM}] distance_metric=cosine, shop integer partition key, genre text, "
    "pages integer, price float, sold boolean, +body text, +meta text, chunk_size=16"
)


def connected(path):
    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    return connection


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "it's my shop.db")


@pytest.fixture
def connection(path):
    opened = connected(path)
    yield opened
    opened.close()


def rowids(connection, table, rows=30, declared=f"embedding float[{DIM}] distance_metric=cosine"):
    connection.execute(f"CREATE VIRTUAL TABLE {table} USING vec0({declared})")
    vectors = unit_vectors(rows)
    with connection:
        for row, vector in enumerate(vectors):
            put(connection, table, row, vector)
    return vectors


def put(connection, table, row, vector):
    connection.execute(f"INSERT INTO {table} (rowid, embedding) VALUES (?, ?)", (row, vector.tobytes()))


def of_every_kind(connection, rows=40):
    connection.execute(f'CREATE VIRTUAL TABLE "my ""docs" USING vec0({KINDS})')
    vectors = unit_vectors(rows)
    connection.execute("BEGIN")
    for row, vector in enumerate(vectors):
        meta = json.dumps({"tags": {"lang": "de" if row % 2 else "en"}})
        values = (f"k{row:02}", vector.tobytes(), row % 3, "ab"[row % 2], row, row / 4, row % 5 == 0, f"b{row}", meta)
        connection.execute('INSERT INTO "my ""docs" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', values)
    connection.execute("COMMIT")
    return vectors


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("filtered") / "docs.db")
    connection = connected(path)
    vectors = of_every_kind(connection)
    connection.close()
    with SqliteVecIndex(path, 'my "docs', text="body") as index:
        yield index, vectors


@pytest.mark.parametrize(
    ("where", "rule"),
    [
        ({"genre": "a"}, lambda row: row % 2 == 0),
        ({"genre": ["a", "nonesuch"]}, lambda row: row % 2 == 0),
        ({"genre": {"ne": "a"}, "shop": 1}, lambda row: row % 2 and row % 3 == 1),
        ({"shop": [0, 2]}, lambda row: row % 3 != 1),
        ({"shop": {"gt": 0}, "pages": {"lt": 21, "gte": 5}}, lambda row: row % 3 and 5 <= row < 21),
        ({"pages": [3.0, 17, 99]}, lambda row: row in (3, 17)),
        ({"pages": {"gt": 36.5}}, lambda row: row > 36),
        ({"price": 2.5}, lambda row: row == 10),
        ({"price": [1, 2.5]}, lambda row: row in (4, 10)),
        ({"sold": True}, lambda row: row % 5 == 0),
        ({"sold": {"ne": True}, "price": {"lte": 1}}, lambda row: row in (1, 2, 3, 4)),
        ({"body": ["b3", "b9"], "genre": "b"}, lambda row: row in (3, 9)),
        ({"slug": {"gt": "k30"}}, lambda row: row > 30),
        ({"meta.tags.lang": "de", "pages": {"lt": 4}}, lambda row: row in (1, 3)),
        ({"body.lang": "de"}, lambda row: False),
        ({"genre": []}, lambda row: False),
    ],
)
def test_a_search_is_limited_by_columns_of_every_kind(filtered, where, rule):
    (index, vectors), query = filtered, unit_vectors(1, seed=3)
    expected = [row for row in np.argsort(-(vectors @ query[0])).tolist() if rule(row)]
    for k in (4, 5000):  # more than vec0 finds at once
        ids, scores = index.search(query, k, where)
        assert ids == [[f"k{row:02}" for row in expected[:k]]]
        np.testing.assert_allclose(scores[0, : len(ids[0])], (vectors @ query[0])[expected[:k]], atol=1e-5)


@pytest.mark.parametrize("where", [{"genre": 1}, {"pages": "x"}, {"price": True}, {"sold": "yes"}, {"shop": "x"}])
def test_a_value_of_another_kind_is_refused(filtered, where):
    with pytest.raises(DataError, match=r"^filter: field '.*' takes"):
        filtered[0].search(unit_vectors(1), 2, where)


def test_all_columns_move_with_their_rows_and_come_back(path, connection):
    of_every_kind(connection)
    with SqliteVecIndex(path, 'my "docs', text="body", payload=["*"]) as index:
        before = joined(list(index.scan(batch=9)))
        meta = '{"tags": {"lang": "de"}}'
        assert before.payload[3] == {"shop": 0, "genre": "b", "pages": 3, "price": 0.75, "sold": 0, "meta": meta}
        replacement = copied(index)
        replacement.cut_over()
        after = joined(list(index.scan()))
        assert (after.ids, after.texts, after.payload) == (before.ids, before.texts, before.payload)
        assert index.search(widened(before)[4:5], 2, {"genre": "a"})[0][0][0] == "k04"
        replacement.roll_back()
        np.testing.assert_array_equal(joined(list(index.scan())).vectors, before.vectors)
        replacement.give_up()
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
    assert [name for name in names if "alignkit" in name] == []


def test_rows_that_come_change_and_go_meanwhile_are_caught_up(path, connection):
    rowids(connection, "docs")
    with SqliteVecIndex(path, "docs") as index:
        replacement = index.replacement()
        replacement.begin(WIDE)
        first = next(replacement.missing(10))
        connection.execute("DELETE FROM docs WHERE rowid = 3")
        changed = unit_vectors(1, seed=8)[0]
        connection.execute("UPDATE docs SET embedding = ? WHERE rowid = 4", (changed.tobytes(),))
        assert replacement.write(first, widened(first)) == 8  # one is gone, and one is no longer what was read
        for rows in replacement.missing(10):
            replacement.write(rows, widened(rows))
        connection.execute("UPDATE docs SET embedding = ? WHERE rowid = 7", (changed.tobytes(),))
        connection.execute("DELETE FROM docs WHERE rowid = 9")
        put(connection, "docs", 99, changed)
        with pytest.raises(DataError, match="2 rows have no new vector"):
            replacement.cut_over()
        left = joined(list(replacement.missing()))
        assert (left.ids, replacement.surplus()) == ([7, 99], 1)
        replacement.write(left, widened(left))
        assert (replacement.prune(), replacement.surplus()) == (1, 0)
        connection.execute("DELETE FROM docs WHERE rowid = 11")
        replacement.cut_over()
        assert joined(list(index.scan())).ids == [one for one in range(30) if one not in (3, 9, 11)] + [99]
        np.testing.assert_allclose(index.fetch([4, 7, 99]).vectors[:, :DIM], [changed] * 3)


def test_an_application_that_has_the_file_open_follows_with_its_triggers_and_views(path, connection):
    vectors = rowids(connection, "docs")
    connection.execute("CREATE TABLE pages (id INTEGER PRIMARY KEY, body TEXT)")
    connection.execute("CREATE TRIGGER gone AFTER DELETE ON pages BEGIN DELETE FROM docs WHERE rowid = OLD.id; END")
    connection.execute("CREATE VIEW found AS SELECT rowid AS id, embedding FROM docs")
    connection.execute("INSERT INTO pages SELECT rowid, 'text ' || rowid FROM docs")
    asked = "SELECT rowid FROM docs WHERE embedding MATCH ? AND k = 1"
    assert connection.execute(asked, (vectors[5].tobytes(),)).fetchall() == [(5,)]
    with SqliteVecIndex(path, "docs") as index:
        replacement = copied(index)
        replacement.cut_over()
        new = joined(list(index.scan())).vectors
        assert connection.execute(asked, (new[6].tobytes(),)).fetchall() == [(6,)]
        assert connection.execute("SELECT length(embedding) FROM found LIMIT 1").get == 4 * WIDE
        # what happens to the new vectors is not lost with the old ones
        connection.execute("DELETE FROM pages WHERE id = 6")
        put(connection, "docs", 99, new[6])
        replacement.roll_back()
        assert 6 not in joined(list(index.scan())).ids
        assert connection.execute(asked, (vectors[5].tobytes(),)).fetchall() == [(5,)]
        replacement.cut_over()
        assert index.fetch([6, 99]).ids == [99]


def test_rows_that_never_had_a_new_vector_are_there_after_a_roll_back(path, connection):
    rowids(connection, "docs")
    with SqliteVecIndex(path, "docs") as index:
        replacement = index.replacement()
        replacement.begin(WIDE)
        rows = next(replacement.missing(20))
        replacement.write(rows, widened(rows))
        replacement.cut_over(force=True)
        assert index.describe().rows == 20
        replacement.roll_back()
        assert joined(list(index.scan())).ids == list(range(30))


def test_another_table_whose_name_begins_alike_is_left_alone(path, connection):
    rowids(connection, "docs")
    other = rowids(connection, "docs_info2", rows=5)
    connection.execute("CREATE TABLE docs_chunks2 (id)")
    with SqliteVecIndex(path, "docs") as index:
        copied(index).cut_over()
    with SqliteVecIndex(path, "docs_info2") as index:
        np.testing.assert_array_equal(joined(list(index.scan())).vectors, other)
    connection.execute("SELECT * FROM docs_chunks2")


@pytest.mark.parametrize("metric", ["cosine", "L2", "l1"])
def test_scores_are_those_of_the_metric_and_zero_vectors_hide_none(path, connection, metric):
    vectors = rowids(connection, "docs", declared=f"embedding float[{DIM}] distance_metric={metric}") * 1
    vectors[[0, 2, 3]] = 0
    for row in (0, 2, 3):
        connection.execute("UPDATE docs SET embedding = ? WHERE rowid = ?", (vectors[row].tobytes(), row))
    query = unit_vectors(1, seed=5)
    expected = {
        "cosine": np.where(vectors.any(axis=1), vectors @ query[0], -np.inf),
        "L2": -np.linalg.norm(vectors - query, axis=1),
        "l1": -np.abs(vectors - query).sum(axis=1),
    }[metric]
    with SqliteVecIndex(path, "docs") as index:
        assert index.describe().metric == {"cosine": "cosine", "L2": "l2", "l1": None}[metric]
        ids, scores = index.search(query, 8)
    assert set(ids[0]) - {0, 2, 3} == set(np.argsort(-expected, kind="stable")[:8].tolist()) - {0, 2, 3}
    np.testing.assert_allclose(scores[0], np.sort(expected)[::-1][:8], atol=1e-5)


def test_columns_of_vectors_are_told_apart(path, connection):
    declared = "small float[4], wide float[6] distance_metric=cosine, coarse int8[4], bits bit[8]"
    connection.execute(f"CREATE VIRTUAL TABLE docs USING vec0({declared})")
    sent = [np.ones(4, np.float32).tobytes(), np.ones(6, np.float32).tobytes(), bytes(4), bytes(1)]
    connection.execute("INSERT INTO docs VALUES (1, ?, ?, vec_int8(?), vec_bit(?))", sent)
    with pytest.raises(DataError, match="columns of vectors: small, wide, coarse, bits; expected one as index.vector="):
        SqliteVecIndex(path, "docs")
    with pytest.raises(DataError, match="column 'coarse' holds int8; expected float"):
        SqliteVecIndex(path, "docs", vector="coarse")
    with SqliteVecIndex(path, "docs", vector="wide") as index:
        described = index.describe()
        assert (described.dim, described.metric, described.fields) == (6, "cosine", ("rowid",))


def test_what_is_not_there_is_named(path, connection, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        SqliteVecIndex(str(tmp_path / "nonesuch.db"), "docs")
    (tmp_path / "text.db").write_text("this is no database, and long enough to be told from one" * 20)
    with pytest.raises(DataError, match="not a file of SQLite"):
        SqliteVecIndex(str(tmp_path / "text.db"), "docs")
    rowids(connection, "docs", rows=2)
    connection.execute("CREATE TABLE pages (body TEXT)")
    for settings, said in (
        ({"table": "pages"}, "index.table=pages: no such vec0 table in .*; there are: docs"),
        ({"text": "title"}, "index.text=title: table docs has no such column; the others are: rowid"),
        ({"joined": "nonesuch"}, "index.joined=nonesuch: no such table"),
        ({"joined": "pages", "id": "key"}, "index.id=key: table pages has no such column; the others are: body"),
    ):
        with pytest.raises(DataError, match=said):
            SqliteVecIndex(path, **{"table": "docs", **settings})


def test_a_file_that_another_program_holds_is_one_line(path, connection, monkeypatch):
    rowids(connection, "docs", rows=2)
    monkeypatch.setattr(sqlite_file, "_WAIT_MS", 1)
    with SqliteVecIndex(path, "docs") as index:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(EngineError, match="another program is writing to the file; try again"):
            index.replacement().begin(WIDE)
        connection.execute("ROLLBACK")
