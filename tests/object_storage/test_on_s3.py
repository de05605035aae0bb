"""What lies in a bucket is read, moved and written as what lies on a disk; what forbids it is said in one line."""

import logging

import local_s3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_moves import STUDENT_DIM, TEACHER_DIM, Stopped, artifact_of, expected, stop_at

from alignkit.errors import ConfigError, DataError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.parquet import ParquetIndex
from alignkit.migration import array_parts, moving
from alignkit.migration.folder_move import migrate_folder
from alignkit.migration.moving import migrate
from alignkit.object_storage.copies_here import copies_folder, on_disk
from alignkit.object_storage.located import is_folder, is_there, located, read_range, write_object
from alignkit.sentences.sentence_files import read_sentences
from alignkit.vector_files import open_rows, open_vectors
from alignkit.workers.local import LocalEngine

# s3fs leaves sockets to the collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ROWS = np.random.default_rng(0).standard_normal((500, STUDENT_DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def s3():
    with local_s3.running() as address:
        yield address


@pytest.fixture(autouse=True)
def own_copies(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "copies"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "copies"))


def put_array(address, array, tmp_path):
    np.save(tmp_path / "put.npy", array)
    write_object(located(address), tmp_path / "put.npy")


def got(address, tmp_path):
    (tmp_path / "got.npy").write_bytes(read_range(located(address), 0, 2**30))
    return np.load(tmp_path / "got.npy")


def table(start, stop):
    flat = pa.array(ROWS[start:stop].reshape(-1))
    rows = pa.FixedSizeListArray.from_arrays(flat, STUDENT_DIM)
    return pa.table({"id": [f"r{i}" for i in range(start, stop)], "embedding": rows})


def put_table(address, made, tmp_path):
    pq.write_table(made, tmp_path / "put.parquet", row_group_size=100)
    write_object(located(address), tmp_path / "put.parquet")


@pytest.mark.parametrize("scheme", ["s3", "memory"])
def test_an_array_is_moved_from_bucket_to_bucket(scheme, s3, tmp_path):
    old, new = f"{scheme}://vectors/a/old.npy", f"{scheme}://vectors/a/new.npy"
    put_array(old, ROWS, tmp_path)
    manifest = migrate(old, artifact_of(), new, dtype="float32")
    np.testing.assert_allclose(got(new, tmp_path), expected(ROWS, artifact_of()), atol=1e-6)
    assert manifest["verification"]["rows"] == len(ROWS)
    assert not list(copies_folder().parent.rglob("*.npy")), "nothing stays on this disk"
    assert migrate(old, artifact_of(), new, dtype="float32") == manifest, "given again, it finds its work"
    with pytest.raises(ConfigError, match=r"vectors/a/new\.npy exists and was not made .*head_sha256"):
        migrate(old, artifact_of(seed=1), new, dtype="float32")


def test_a_move_to_a_bucket_goes_on_where_it_was(s3, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(moving, "COMMIT_BYTES", 4096)
    monkeypatch.setattr(moving, "BLOCK_BYTES", 4096)
    put_array("s3://vectors/b/old.npy", ROWS, tmp_path)
    with pytest.raises(Stopped):
        migrate("s3://vectors/b/old.npy", artifact_of(), "s3://vectors/b/new.npy", progress=stop_at(300))
    with caplog.at_level(logging.INFO):
        migrate("s3://vectors/b/old.npy", artifact_of(), "s3://vectors/b/new.npy")
    assert "going on at row" in caplog.text
    np.testing.assert_allclose(got("s3://vectors/b/new.npy", tmp_path), expected(ROWS, artifact_of()), atol=1e-6)
    put_array("s3://vectors/b/old.npy", ROWS[::-1], tmp_path)
    with pytest.raises(ConfigError, match=r"new\.npy exists and was not made .*vectors"):
        migrate("s3://vectors/b/old.npy", artifact_of(), "s3://vectors/b/new.npy")


def test_a_table_keeps_its_other_columns(s3, tmp_path):
    put_table("s3://vectors/c/old.parquet", table(0, 500), tmp_path)
    migrate("s3://vectors/c/old.parquet", artifact_of(), "s3://vectors/c/new.parquet")
    with ParquetIndex("s3://vectors/c/new.parquet", id="id") as index:
        assert (index.describe().rows, index.dim) == (500, TEACHER_DIM)
        rows = index.fetch(["r7", "r499"])
    np.testing.assert_allclose(rows.vectors, expected(ROWS[[7, 499]], artifact_of()), atol=1e-6)


def test_a_folder_of_tables_is_one_index(s3, tmp_path):
    for number in range(3):
        put_table(f"s3://vectors/d/part-{number}.parquet", table(number * 100, number * 100 + 100), tmp_path)
    with ParquetIndex("s3://vectors/d", id="id") as index:
        read = list(index.scan(batch=64))
        assert [one for rows in read for one in rows.ids] == [f"r{i}" for i in range(300)]
        np.testing.assert_array_equal(np.concatenate([rows.vectors for rows in read]), ROWS[:300])
        again = list(index.scan(after=read[2].cursor, batch=64))
        assert again[0].ids == read[3].ids
    with ParquetIndex("s3://vectors/d/part-1.parquet") as one, pytest.raises(DataError, match="cannot be renamed"):
        one.replacement()


def test_only_the_rows_that_are_looked_at_are_read(s3, tmp_path, monkeypatch):
    put_array("s3://vectors/e/old.npy", ROWS, tmp_path)
    rows = open_rows("s3://vectors/e/old.npy")
    np.testing.assert_array_equal(rows[100:110], ROWS[100:110])
    np.testing.assert_array_equal(rows[490:600], ROWS[490:])
    assert rows[7:3].shape == (0, STUDENT_DIM)
    assert not copies_folder().exists()
    put_array("s3://vectors/e/columns.npy", np.asfortranarray(ROWS), tmp_path)
    np.testing.assert_array_equal(open_rows("s3://vectors/e/columns.npy"), ROWS)


def test_a_copy_is_fetched_once_for_each_content(s3, tmp_path, caplog):
    put_array("s3://vectors/f/v.npy", ROWS, tmp_path)
    with caplog.at_level(logging.INFO, logger="alignkit"):
        assert open_vectors("s3://vectors/f/v.npy").shape == ROWS.shape
        first = on_disk("s3://vectors/f/v.npy")
    assert caplog.text.count("are copied to") == 1
    put_array("s3://vectors/f/v.npy", ROWS[:100], tmp_path)
    assert len(open_vectors("s3://vectors/f/v.npy")) == 100
    assert not first.exists(), "an older copy makes room"


def test_sentences_are_read_too(s3):
    write_object(located("s3://vectors/g/texts.txt"), b"one\ntwo\n")
    assert [one.text for one in read_sentences("s3://vectors/g/texts.txt")] == ["one", "two"]


def test_what_a_store_refuses_is_said_in_one_line(s3, tmp_path, caplog):
    put_array("s3://vectors/h/old.npy", ROWS, tmp_path)
    write_object(located("s3://vectors/h/empty.npy"), b"")
    write_object(located("s3://vectors/h/cut.npy"), read_range(located("s3://vectors/h/old.npy"), 0, 999))
    write_object(located("s3://vectors/h/table.npy"), b"PAR1 and so on")
    for address, said in {
        "s3://vectors/h/none.npy": "s3://vectors/h/none.npy: there is no such file",
        "s3://nobody/old.npy": "s3://nobody/old.npy: there is no such bucket",
        "s3://nobody/old.parquet": "s3://nobody/old.parquet: there is no such bucket",
        "s3://vectors/h/empty.npy": "s3://vectors/h/empty.npy: the file is empty",
        "s3://vectors/h/cut.npy": "it is cut short",
        "s3://vectors/h/table.npy": "it is a Parquet file",
    }.items():
        with pytest.raises(DataError) as refused:
            migrate(address, artifact_of(), tmp_path / f"new{located(address).suffix}")
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="s3://nobody/new.npy: there is no such bucket"):
        migrate("s3://vectors/h/old.npy", artifact_of(), "s3://nobody/new.npy")
    with local_s3.without_rights(s3):
        for out in ("s3://vectors/h/new.npy", tmp_path / "new.npy"):
            with pytest.raises(DataError, match=r"these keys have no right to it .* AWS_ACCESS_KEY_ID") as refused:
                migrate("s3://vectors/h/old.npy", artifact_of(), out)
            assert local_s3.SECRET not in str(refused.value) + caplog.text
            assert local_s3.KEY not in str(refused.value) + caplog.text


def test_rights_that_end_half_way_lose_nothing(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(moving, "COMMIT_BYTES", 4096)
    monkeypatch.setattr(moving, "BLOCK_BYTES", 4096)
    put_array("s3://vectors/i/old.npy", ROWS, tmp_path)

    with pytest.raises(DataError, match="no right to it"):
        # the rest of the old rows
        migrate("s3://vectors/i/old.npy", artifact_of(), tmp_path / "new.npy", progress=ending(s3, 250))
    local_s3.refuse_from(s3, 2**31)
    seen = []
    migrate("s3://vectors/i/old.npy", artifact_of(), tmp_path / "new.npy", progress=lambda done, _: seen.append(done))
    assert seen[0] > 0
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(ROWS, artifact_of()), atol=1e-6)


def ending(s3, rows):
    def progress(done, total):
        if done >= rows:
            local_s3.refuse_from(s3, 0)

    return progress


def test_where_no_store_answers(s3, monkeypatch, tmp_path):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(DataError, match=r"old\.npy: the store does not answer \(Could not connect"):
            open_rows("s3://vectors/old.npy")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(DataError, match=r"old\.npy: no keys were found; set AWS_ACCESS_KEY_ID and"):
            open_rows("s3://vectors/old.npy")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_folders_and_files_are_moved_there_in_parts(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(array_parts, "FEWEST_ROWS", 200)
    artifact, engine = artifact_of(), LocalEngine()
    for number, name in enumerate(["0.parquet", "lang=de/1.parquet"]):
        put_table(f"s3://vectors/many/{name}", table(250 * number, 250 * number + 250), tmp_path)
    write_object(located("s3://vectors/many/_temporary/0.parquet"), b"being written")
    put_array("s3://vectors/whole.npy", ROWS, tmp_path)
    made = migrate_folder("s3://vectors/many", artifact, "s3://vectors/moved", None, None, "document", None, engine)
    assert (made["files"], made["rows"]) == (2, 500)
    found = []
    for folder in ("moved", "moved/lang=de"):
        with ParquetIndex(f"s3://vectors/{folder}", id="id") as index:
            found += index.scan()
    rows = joined(found)
    assert rows.ids == [f"r{i}" for i in range(500)]
    np.testing.assert_allclose(rows.vectors, expected(ROWS, artifact), atol=1e-6)
    with pytest.raises(Stopped):
        migrate("s3://vectors/whole.npy", artifact, "s3://vectors/parts.npy", engine=engine, progress=stop_at(200))
    assert is_there(located("s3://vectors/parts.npy.parts/000000.npy"))  # where all workers reach it
    migrate("s3://vectors/whole.npy", artifact, "s3://vectors/parts.npy", engine=engine)
    np.testing.assert_allclose(got("s3://vectors/parts.npy", tmp_path), expected(ROWS, artifact), atol=1e-6)
    assert not is_folder(located("s3://vectors/parts.npy.parts"))
