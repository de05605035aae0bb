"""An index moved into the teacher's space: whole, in order, resumable, and never over something else."""

import json

import numpy as np
import pytest
from small_moves import ROWS, STUDENT_DIM, TEACHER_DIM, Stopped, artifact_of, expected, stop_at

from alignkit.errors import AlignkitError, ArtifactError, ConfigError, DataError
from alignkit.migration import moving
from alignkit.migration.moving import migrate


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((ROWS, STUDENT_DIM)).astype(np.float32)


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", [None, "float16", "float32"])
def test_dtypes(stored, dtype, vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors.astype(stored))
    manifest = migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", dtype=dtype)
    made = np.load(tmp_path / "new.npy")
    assert made.dtype == (dtype or ("float16" if stored == "float16" else "float32"))
    tolerance = 1e-3 if made.dtype == np.float16 else 1e-6
    np.testing.assert_allclose(made, expected(vectors.astype(stored), artifact_of()), atol=tolerance)
    assert manifest["verification"]["rows"] == ROWS
    assert json.loads((tmp_path / "new.npy.json").read_text(encoding="utf-8")) == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.npy", "new.npy.json", "old.npy"]


@pytest.mark.parametrize("rows", [0, 64, 300, 999, 1000])
def test_an_interrupted_move_goes_on_and_ends_the_same(rows, vectors, tmp_path, caplog):
    np.save(tmp_path / "old.npy", vectors)
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=stop_at(rows))
    assert not (tmp_path / "new.npy").exists()
    seen = []
    with caplog.at_level("INFO"):
        migrate(
            tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=lambda done, all_: seen.append(done)
        )
    assert ("going on at row" in caplog.text) == (rows >= 128)
    assert seen[0] == rows // 128 * 128
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors, artifact_of()), atol=1e-6)


def test_a_second_process_keeps_its_hands_off_the_same_part(vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors)
    refused = []

    def second(done, rows):
        if done == 64:
            with pytest.raises(ConfigError, match=r"another process is moving an index to .*new\.npy") as caught:
                migrate(tmp_path / "old.npy", artifact_of(seed=1), tmp_path / "new.npy")
            refused.append(caught)

    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=second)
    assert len(refused) == 1
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors, artifact_of()), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.npy", "new.npy.json", "old.npy"]


def test_half_a_block_after_the_last_commit_is_written_again(vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors)
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=stop_at(300))
    with (tmp_path / "new.npy.part").open("ab") as part:
        part.write(b"garbage of a crash")
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors, artifact_of()), atol=1e-6)


@pytest.mark.parametrize("change", ["head", "vectors", "lost"])
def test_an_unfinished_move_of_something_else_is_begun_anew(change, vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors)
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=stop_at(600))
    artifact = artifact_of(seed=1 if change == "head" else 0)
    if change == "vectors":
        vectors = vectors[::-1].copy()
        np.save(tmp_path / "old.npy", vectors[:-1])
        np.save(tmp_path / "old.npy", vectors)
    if change == "lost":
        (tmp_path / "new.npy.part").write_bytes(b"")
    migrate(tmp_path / "old.npy", artifact, tmp_path / "new.npy")
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors, artifact), atol=1e-6)


def test_a_finished_move_is_not_done_again_and_nothing_else_is_overwritten(vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors)
    manifest = migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    before = (tmp_path / "new.npy").stat().st_mtime_ns
    assert migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy") == manifest
    assert (tmp_path / "new.npy").stat().st_mtime_ns == before
    for other in (artifact_of(1), artifact_of()):
        with pytest.raises(ConfigError, match="exists and was not made from this index with this head"):
            migrate(
                tmp_path / "old.npy",
                other,
                tmp_path / "new.npy",
                dtype="float16" if other.digest() == artifact_of().digest() else None,
            )
    (tmp_path / "new.npy.json").unlink()
    with pytest.raises(ConfigError, match="exists and was not made"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_the_file_appears_is_gone_on_with(suffix, when, vectors, tmp_path, monkeypatch):
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    if suffix == ".npy":
        np.save(old, vectors)
    else:
        pytest.importorskip("pyarrow.parquet").write_table(table_of(vectors), old)
    finish = moving._finish

    def crash(move):
        if when == "after":
            finish(move)
        raise Stopped

    monkeypatch.setattr(moving, "_finish", crash)
    with pytest.raises(Stopped):
        migrate(old, artifact_of(), new)
    assert new.exists() == (when == "after")
    monkeypatch.setattr(moving, "_finish", finish)
    manifest = migrate(old, artifact_of(), new)
    assert manifest["rows"] == ROWS
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, f"{new.name}.json", old.name]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_another_array_of_the_same_file_is_another_move(suffix, vectors, tmp_path):
    old, new = tmp_path / f"old{suffix}", tmp_path / ("new.parquet" if suffix == ".parquet" else "new.npy")
    arrays = {"a": vectors, "b": vectors[::-1].copy()}
    if suffix == ".npz":
        np.savez(old, **arrays)
    elif suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(arrays, old)
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            pa.table({name: list(array) for name, array in arrays.items()}), old
        )
    manifest = migrate(old, artifact_of(), new, key="a")
    assert migrate(old, artifact_of(), new, key="a") == manifest
    with pytest.raises(ConfigError, match="exists and was not made from this index with this head .key differ."):
        migrate(old, artifact_of(), new, key="b")


def test_the_only_array_is_the_same_with_and_without_its_name(vectors, tmp_path):
    np.savez(tmp_path / "old.npz", a=vectors)
    manifest = migrate(tmp_path / "old.npz", artifact_of(), tmp_path / "new.npy")
    assert manifest["key"] == "a"
    assert migrate(tmp_path / "old.npz", artifact_of(), tmp_path / "new.npy", key="a") == manifest


def test_an_unfinished_move_of_another_array_is_begun_anew(vectors, tmp_path):
    np.savez(tmp_path / "old.npz", a=vectors, b=vectors[::-1])
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npz", artifact_of(), tmp_path / "new.npy", key="a", progress=stop_at(600))
    migrate(tmp_path / "old.npz", artifact_of(), tmp_path / "new.npy", key="b")
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors[::-1].copy(), artifact_of()), atol=1e-6)


def test_a_full_disk_is_one_line_and_can_be_gone_on_with(vectors, tmp_path, monkeypatch):
    import errno

    np.save(tmp_path / "old.npy", vectors)
    align, blocks = moving.align_rows, []

    def full(move, block, first_row):
        blocks.append(first_row)
        if len(blocks) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return align(move, block, first_row)

    monkeypatch.setattr(moving, "align_rows", full)
    with pytest.raises(AlignkitError, match="old.npy could not be moved to .*new.npy .No space left on device.; fix"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    monkeypatch.setattr(moving, "align_rows", align)
    seen = []
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=lambda done, rows: seen.append(done))
    assert seen[0] > 0
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors, artifact_of()), atol=1e-6)


def test_zero_rows_stay_zero_and_are_counted(vectors, tmp_path):
    vectors[[3, 700]] = 0
    np.save(tmp_path / "old.npy", vectors)
    manifest = migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    made = np.load(tmp_path / "new.npy")
    assert manifest["zero_rows"] == 2
    assert np.flatnonzero(~made.any(axis=1)).tolist() == [3, 700]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_rows_are_named(value, vectors, tmp_path):
    vectors[513, 2] = value
    np.save(tmp_path / "old.npy", vectors)
    with pytest.raises(DataError, match="old.npy: row 513 holds NaN or Inf"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    assert not (tmp_path / "new.npy").exists()


@pytest.mark.parametrize(
    ("old", "out", "dtype", "error", "words"),
    [
        ("old.npy", "new.parquet", None, ConfigError, "ends in .npy"),
        ("old.npy", "new.npy", "int8", ConfigError, "dtype=int8: expected float16 or float32"),
        ("missing.npy", "new.npy", None, DataError, "no such file"),
        ("old.txt", "new.npy", None, DataError, "expected one of .npy, .npz, .safetensors, .parquet"),
    ],
)
def test_wrong_arguments(old, out, dtype, error, words, vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors)
    with pytest.raises(error, match=words):
        migrate(tmp_path / old, artifact_of(), tmp_path / out, dtype=dtype)


def test_another_width_is_refused_and_the_right_student_named(tmp_path):
    np.save(tmp_path / "old.npy", np.ones((3, STUDENT_DIM + 1), np.float32))
    with pytest.raises(DataError, match="holds 9-d vectors, this head takes 8-d ones of tiny; .*own student model"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")


def test_no_room_is_said_before_the_work(vectors, tmp_path, monkeypatch):
    import shutil
    from collections import namedtuple

    np.save(tmp_path / "old.npy", vectors)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 100))
    with pytest.raises(ConfigError, match="needs .* GiB"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    assert not (tmp_path / "new.npy.part").exists()


def test_documents_take_their_own_head(vectors, tmp_path):
    np.save(tmp_path / "old.npy", vectors)
    other = artifact_of(1).head
    both = artifact_of(document_head=other)
    migrate(tmp_path / "old.npy", both, tmp_path / "documents.npy")
    migrate(tmp_path / "old.npy", both, tmp_path / "queries.npy", role="query")
    np.testing.assert_allclose(np.load(tmp_path / "documents.npy"), expected(vectors, artifact_of(1)), atol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "queries.npy"), expected(vectors, artifact_of()), atol=1e-6)


def test_a_part_that_was_damaged_is_not_handed_over(vectors, tmp_path, monkeypatch):
    np.save(tmp_path / "old.npy", vectors)
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=stop_at(600))
    part = tmp_path / "new.npy.part"
    content = bytearray(part.read_bytes())
    content[200:400] = bytes(200)
    part.write_bytes(content)
    with pytest.raises(ArtifactError, match="does not agree"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    assert not (tmp_path / "new.npy").exists()
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy")
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected(vectors, artifact_of()), atol=1e-6)


def table_of(vectors, kind="fixed"):
    import pyarrow as pa

    flat = pa.array(vectors.reshape(-1))
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    columns = {
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        "list": lambda: pa.ListArray.from_arrays(pa.array(offsets), flat),
    }
    names = [f"doc-{row}" for row in range(len(vectors))]
    return pa.table({"id": names, "embedding": columns[kind](), "year": list(range(len(vectors)))})


@pytest.mark.parametrize("kind", ["fixed", "list"])
@pytest.mark.parametrize("stop", [None, 500])
def test_tables_keep_ids_and_columns(kind, stop, vectors, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(table_of(vectors, kind), tmp_path / "old.parquet", row_group_size=150)
    if stop:
        with pytest.raises(Stopped):
            migrate(tmp_path / "old.parquet", artifact_of(), tmp_path / "new.parquet", progress=stop_at(stop))
    migrate(tmp_path / "old.parquet", artifact_of(), tmp_path / "new.parquet", dtype=None)
    made = pq.read_table(tmp_path / "new.parquet")
    assert made.column_names == ["id", "embedding", "year"]
    assert made["id"].to_pylist() == [f"doc-{row}" for row in range(ROWS)]
    assert made["year"].to_pylist() == list(range(ROWS))
    got = np.array(made["embedding"].combine_chunks().flatten()).reshape(ROWS, TEACHER_DIM)
    np.testing.assert_allclose(got, expected(vectors, artifact_of()), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.parquet", "new.parquet.json", "old.parquet"]


def test_tables_that_cannot_be_moved(vectors, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"

    def refused(table, words, **more):
        pq.write_table(table, old)
        with pytest.raises(DataError, match=words):
            migrate(old, artifact_of(), new, **more)

    table = table_of(vectors)
    refused(table.drop(["embedding"]), "columns of vectors .lists of floats.: none")
    refused(table.append_column("second", table["embedding"]), "embedding, second; expected one as key=")
    refused(table, "embedding; expected one as key=…, got 'year'", key="year")
    refused(table.slice(0, 0), "holds no rows")
    ragged = [row.tolist() for row in vectors[:10]]
    ragged[4] = ragged[4][:5]
    refused(pa.table({"v": ragged}), "row 4 has 5 numbers in 'v', expected 8")
    ragged[4] = None
    refused(pa.table({"v": ragged}), "row 4 has no vector")
    old.write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        migrate(old, artifact_of(), new)
