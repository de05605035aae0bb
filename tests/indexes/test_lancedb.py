"""LanceDB as it is met: its versions, its metrics, names with spaces and quotes."""

import shutil
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from engines import unit_vectors
from needed import needed

from alignkit.errors import DataError, EngineError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.lance_refusals import lance_refusals
from alignkit.indexes.lancedb import LancedbIndex

lancedb = needed("lancedb")


def table_of(vectors, name="embedding", **columns):
    width = pa.list_(pa.float32(), len(vectors[0]))
    return pa.table({"id": list(range(len(vectors))), name: pa.array(vectors.tolist(), width), **columns})


def test_a_scan_keeps_to_the_version_at_which_it_began(tmp_path):
    table = lancedb.connect(tmp_path).create_table("docs", table_of(unit_vectors(20)))
    with LancedbIndex(str(tmp_path), "docs") as index:
        scan = index.scan(batch=6)
        first = next(scan)
        table.add(table_of(unit_vectors(5)))
        table.delete("id = 19")
        with LancedbIndex(str(tmp_path), "docs") as other:
            rest = [one for rows in other.scan(after=first.cursor) for one in rows.ids]
        assert first.ids + rest == list(range(20)) == first.ids + [one for rows in scan for one in rows.ids]
        assert index.describe().rows == 25 - 2 + 1 == len(joined(list(index.scan())))
        with pytest.warns(UserWarning, match="removes every version"):
            table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        with pytest.raises(DataError, match="cleaned up; begin again"):
            list(index.scan(after=first.cursor))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_its_scores_are_those_of_the_metric(tmp_path, metric):
    vectors = unit_vectors(30) * np.linspace(0.5, 2, 30, dtype=np.float32)[:, None]
    lancedb.connect(tmp_path).create_table("docs", table_of(vectors))
    query = unit_vectors(1, seed=5)
    with LancedbIndex(str(tmp_path), "docs", metric=metric) as index:
        ids, scores = index.search(query, 5)
    lengths = np.linalg.norm(vectors, axis=1)
    expected = {
        "cosine": vectors @ query[0] / lengths,
        "dot": vectors @ query[0],
        "l2": -np.linalg.norm(vectors - query, axis=1),
    }[metric]
    assert ids[0] == np.argsort(-expected)[:5].tolist()
    np.testing.assert_allclose(scores[0], np.sort(expected)[::-1][:5], atol=1e-5)


def test_the_metric_is_that_of_the_columns_index(tmp_path):
    from lancedb.index import IvfFlat

    table = lancedb.connect(tmp_path).create_table("docs", table_of(unit_vectors(300, 4)))
    table.create_index("embedding", config=IvfFlat(distance_type="dot", num_partitions=2))
    with LancedbIndex(str(tmp_path), "docs") as index:
        assert index.describe().metric == "dot"


@pytest.mark.parametrize("column", ["it's a Vector", "Größe", 'x "q"; --', "100% [0]", "select"])
def test_names_with_spaces_and_quotes(tmp_path, column, capfd):
    """Also where vectors are gathered in a table beside, whose name may hold fewer signs."""
    vectors, made = unit_vectors(9), unit_vectors(9, 4, seed=3)
    rows = table_of(vectors, column, **{"my text": [f"t{row}" for row in range(9)]})
    database = lancedb.connect(tmp_path / "my db")
    database.create_table("do.cs", rows.rename_columns(["Id; --", *rows.column_names[1:]]))
    settings = {"id": "Id; --", "text": "my text", "payload": ["my text"]}
    with LancedbIndex(str(tmp_path / "my db"), "do.cs", **settings) as index:
        rows = index.fetch([4, 2])
        assert (rows.texts, rows.payload) == (["t4", "t2"], [{"my text": "t4"}, {"my text": "t2"}])
        assert index.search(vectors[3:4], 1)[0] == [[3]]
        replacement = index.replacement()
        replacement.begin(4)
        for rows in replacement.missing(5):
            assert replacement.write(rows, made[rows.ids]) == len(rows)
        replacement.build_index()
        replacement.keep_note({"said": 1})
        replacement.cut_over()
        assert index.search(made[3:4], 1)[0] == [[3]] and replacement.note() == {"said": 1}
        replacement.roll_back()
        replacement.give_up()
    assert database.list_tables().tables == ["do.cs"]
    assert "WARN" not in capfd.readouterr().err


def test_what_the_engine_refuses_is_one_line_and_what_to_do(tmp_path):
    lancedb.connect(tmp_path).create_table("docs", table_of(unit_vectors(9)))
    with LancedbIndex(str(tmp_path), "docs") as index:
        replacement = index.replacement()
        replacement.begin(8)
        [rows] = replacement.missing()
        shutil.rmtree(tmp_path / "docs_embedding_alignkit_new.lance" / "data", ignore_errors=True)
        (tmp_path / "docs_embedding_alignkit_new.lance" / "data").write_text("a file where a folder was")
        with pytest.raises(EngineError, match="LanceDB: ") as caught:
            replacement.write(rows, rows.vectors)
        assert "\n" not in str(caught.value) and ".rs" not in str(caught.value)
        assert replacement.stage() == "begun"
        replacement.give_up()
    full = "lance error: LanceError(IO): Io error: No space left on device (os error 28), rust/src/io.rs:3:4"
    with (
        pytest.raises(EngineError, match="left on device .*; free some space, then .*: it continues"),
        lance_refusals(),
    ):
        raise OSError(full)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        LancedbIndex(str(tmp_path / "nonesuch"), "docs")
    lancedb.connect(tmp_path).create_table("docs", table_of(unit_vectors(3)))
    with pytest.raises(DataError, match="there are: docs"):
        LancedbIndex(str(tmp_path), "nonesuch")
    with pytest.raises(DataError, match="index.text=title: table docs has no such column; the others are: id"):
        LancedbIndex(str(tmp_path), "docs", text="title")
