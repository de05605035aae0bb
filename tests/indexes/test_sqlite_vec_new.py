"""Rows of other engines in a file of SQLite: names, types, and what it cannot hold."""

import sqlite3

import numpy as np
import pytest
from engines import DIM, unit_vectors

from alignkit.errors import ConfigError, DataError
from alignkit.indexes.index_rows import IndexRows, joined

pytest.importorskip("apsw")
pytest.importorskip("sqlite_vec")
from alignkit.indexes.sqlite_vec import SqliteVecIndex  # noqa: E402
from alignkit.indexes.sqlite_vec_new import NewSqliteVecIndex  # noqa: E402

NOTE = {"from": "elsewhere"}


def rows_of(ids, payload=None):
    return IndexRows(ids, unit_vectors(len(ids)), [f"text {one}" for one in ids], payload or [{} for _ in ids])


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "new.db")


def begun(path, rows, metric="cosine", **settings):
    new = NewSqliteVecIndex(path, "docs", **settings)
    assert new.note() is None
    new.begin(DIM, metric, NOTE, rows)
    return new


def test_the_result_is_an_ordinary_file_that_any_program_reads(path):
    payload = [{'it\'s a "name"': 1.5, "tags": ["a", {"b": 1}], "n": 2**70}, {"n": None, "flag": True}]
    rows = rows_of([7, 9], payload)
    new = begun(path, rows, id="key", text="body", joined="pages")
    new.put(rows, rows.vectors, ["v1", "v2"])
    new.put(rows, rows.vectors, ["v3", "v4"])
    assert list(new.versions()) == [([7, 9], ["v3", "v4"])]
    new.finish()
    new.close()
    with SqliteVecIndex(path, "docs", joined="pages", text="body", payload=["*"]) as index:
        found = joined(list(index.scan()))
        np.testing.assert_array_equal(found.vectors, rows.vectors)
        assert (found.ids, found.texts) == ([7, 9], ["text 7", "text 9"])
        assert index.search(rows.vectors[1:], 1, {"flag": True})[0] == [[9]]
    connection = sqlite3.connect(path)  # the pages need no extension
    assert connection.execute('SELECT key, body, "it\'s a ""name""", tags, n FROM pages').fetchall() == [
        (7, "text 7", 1.5, '["a", {"b": 1}]', str(2**70)),
        (9, "text 9", None, None, None),
    ]
    assert not [name for (name,) in connection.execute("SELECT name FROM sqlite_schema") if "alignkit" in name]
    connection.close()


def test_ids_of_several_types_are_texts_and_the_metric_is_kept(path):
    rows = rows_of([3, "a", "it's"])
    new = begun(path, rows, metric="l2")
    new.put(rows, rows.vectors, ["v"] * 3)
    with new.opened() as index:
        assert (joined(list(index.scan())).ids, index.describe().metric) == (["3", "a", "it's"], "l2")
        assert index.fetch([3, "it's"]).texts == ["text 3", "text it's"]
    new.close()


def test_what_does_not_fit_is_refused_and_changes_nothing(path):
    rows = rows_of([1, 2])
    new = begun(path, rows)
    new.put(rows, rows.vectors, ["v1", "v2"])
    with pytest.raises(DataError, match="made for ids that are whole numbers, and a row has the id x"):
        new.put(rows_of([3, "x"]), rows.vectors, ["v", "v"])
    with pytest.raises(DataError, match="'Lang' and 'lang' of the payload differ in capitals alone"):
        new.put(rows_of([1, 2], [{"Lang": 1}, {"lang": 1}]), rows.vectors, ["v", "v"])
    assert list(new.versions()) == [([1, 2], ["v1", "v2"])]
    new.close()
    with pytest.raises(ConfigError, match="vec0 takes names of letters, digits and _ alone"):
        NewSqliteVecIndex(path, "docs", vector="my vector")


def test_a_name_that_is_taken_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE docs_rows (id)")
    connection.close()
    new = NewSqliteVecIndex(path, "docs")
    with pytest.raises(DataError, match="is there already, and no migration made it"):
        new.note()
    new.close()
