"""Files and folders moved by several workers: the same vectors as by one, whatever fails or stops in between."""

import json
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_moves import ROWS, STUDENT_DIM, TEACHER_DIM, Stopped, artifact_of, expected, stop_at

from alignkit.errors import AlignkitError, ConfigError, DataError
from alignkit.migration import array_parts
from alignkit.migration.folder_move import migrate_folder
from alignkit.migration.moving import migrate
from alignkit.workers.local import LocalEngine


class Elsewhere(LocalEngine):
    """Its workers are in this process, and get what another process would."""

    def run(self, work, parts):
        return super().run(*pickle.loads(pickle.dumps((work, parts))))


HERE = Elsewhere()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(array_parts, "FEWEST_ROWS", 130)


@pytest.fixture
def vectors():
    made = np.random.default_rng(0).standard_normal((ROWS, STUDENT_DIM)).astype(np.float32)
    made[700] = 0
    return made


def save(path, vectors, first=0):
    """An array, or a table with ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, vectors)
        return
    ids = pa.array(range(first, first + len(vectors)))
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), STUDENT_DIM)
    pq.write_table(pa.table({"id": ids, "made": column}), path, row_group_size=300)


def load(path):
    if path.suffix == ".npy":
        return np.load(path)
    return np.array(pq.read_table(path).column("made").to_pylist(), np.float32)


def wanted(vectors, artifact):
    made = expected(vectors, artifact)
    made[700] = 0
    return made


@pytest.mark.parametrize(
    ("suffix", "codes"), [(".npy", None), (".parquet", None), (".npy", "int8"), (".npy", "binary,dims=8")]
)
def test_the_file_is_the_one_that_a_single_process_makes(suffix, codes, vectors, tmp_path):
    artifact, old = artifact_of(), tmp_path / f"old{suffix}"
    save(old, vectors)
    one = migrate(old, artifact, tmp_path / f"one{suffix}", codes=codes)
    seen = []
    engine_words = []
    many = migrate(
        old,
        artifact,
        tmp_path / f"many{suffix}",
        codes=codes,
        engine=HERE,
        progress=lambda done, rows: seen.append((done, rows)),
        note=engine_words.append,
    )
    assert (tmp_path / f"many{suffix}").read_bytes() == (tmp_path / f"one{suffix}").read_bytes()
    assert many == one and many["zero_rows"] == 1
    assert seen[0] == (0, ROWS) and seen[-1] == (ROWS, ROWS) and len(seen) == 9  # eight parts
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if "part" in name or name.endswith(".lock")]


def test_an_interrupted_move_goes_on_by_whoever_comes_next(vectors, tmp_path):
    artifact = artifact_of()
    save(tmp_path / "old.npy", vectors)
    arguments = tmp_path / "old.npy", artifact, tmp_path / "new.npy"
    with pytest.raises(Stopped):
        migrate(*arguments, engine=HERE, progress=stop_at(300))
    seen = []
    migrate(*arguments, progress=lambda done, rows: seen.append(done))  # without workers, as no engine= is given
    assert seen[0] == 390
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), wanted(vectors, artifact), atol=1e-6)


def test_parts_of_another_head_are_refused(vectors, tmp_path):
    save(tmp_path / "old.npy", vectors)
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", engine=HERE, progress=stop_at(300))
    with pytest.raises(ConfigError, match="holds parts of another command \\(head_sha256 is "):
        migrate(tmp_path / "old.npy", artifact_of(1), tmp_path / "new.npy", engine=HERE)
    np.save(tmp_path / "new.npy.parts" / "000001.npy", np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"000001.npy: holds float64 numbers of shape \(3, 4\), expected float32"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", engine=HERE)


def test_a_broken_row_costs_its_part_alone(vectors, tmp_path):
    vectors[500, 3] = np.nan
    save(tmp_path / "old.npy", vectors)
    with pytest.raises(AlignkitError, match="1 of 8 parts failed, 7 are done; part 3 .*row 500 holds NaN or Inf"):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", engine=HERE)
    assert not (tmp_path / "new.npy").exists()


FILES = ("a.parquet", "lang=de/b.parquet", "lang=en/c.parquet", "d.npy")


@pytest.fixture
def data_set(vectors, tmp_path):
    folder = tmp_path / "old"
    for number, name in enumerate(FILES):
        save(folder / name, vectors[number * 200 : number * 200 + 200], number * 200)
    (folder / "_SUCCESS").write_text("", encoding="utf-8")
    save(folder / "_temporary.npy", vectors[:5])
    save(folder / "_temporary" / "0.npy", vectors[:5])
    return folder


def move_folder(artifact, tmp_path, engine=HERE, codes=None, **more):
    return migrate_folder(tmp_path / "old", artifact, tmp_path / "new", None, None, "document", codes, engine, **more)


def test_a_folder_keeps_names_order_and_columns(data_set, vectors, tmp_path):
    artifact = artifact_of()
    made = move_folder(artifact, tmp_path)
    assert (made["files"], made["rows"], made["zero_rows"]) == (4, 800, 1)
    assert made["verification"]["rows"] == 799
    found = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert found == set(FILES)
    for number, name in enumerate(FILES):
        rows = slice(number * 200, number * 200 + 200)
        np.testing.assert_allclose(load(tmp_path / "new" / name), wanted(vectors, artifact)[rows], atol=1e-6)
        if name.endswith(".parquet"):
            assert pq.read_table(tmp_path / "new" / name).column("id").to_pylist() == list(range(800))[rows]
    assert {path.name for path in tmp_path.iterdir()} == {"old", "new", "new.json"}
    assert move_folder(artifact, tmp_path) == json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))
    with pytest.raises(ConfigError, match="exists and was not made from this folder.*head_sha256 differ"):
        move_folder(artifact_of(1), tmp_path)


def test_a_folder_goes_on_file_by_file(data_set, tmp_path):
    def stop(progress):
        if progress.done >= 400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move_folder(artifact_of(), tmp_path, on_progress=stop)
    moved = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*.*")}
    assert len(moved) == 2
    (tmp_path / "new.parts" / "done.jsonl").write_bytes(b"")  # killed before that was written
    seen = []
    assert move_folder(artifact_of(), tmp_path, on_progress=seen.append)["rows"] == 800
    assert (seen[0].earlier, seen[-1].done) == (0, 800)


def test_a_file_that_cannot_be_moved_is_named(data_set, vectors, tmp_path):
    (data_set / "lang=de" / "b.parquet").write_bytes(b"no table at all")
    with pytest.raises(AlignkitError, match="1 of 4 parts failed, 3 are done; part . .file=lang=de/b.parquet.: "):
        move_folder(artifact_of(), tmp_path)
    save(data_set / "lang=de" / "b.parquet", vectors[:10])
    assert move_folder(artifact_of(), tmp_path)["rows"] == 610


def test_folders_that_cannot_be_moved(data_set, tmp_path):
    with pytest.raises(ConfigError, match="codes=int8,dims=8: each file of a folder would get ranges of its own"):
        move_folder(artifact_of(), tmp_path, codes="int8,dims=8")
    shutil.rmtree(data_set)
    data_set.mkdir()
    with pytest.raises(DataError, match=r"old: holds no .parquet or .npy files"):
        move_folder(artifact_of(), tmp_path)


def test_width_of_the_new_vectors_is_the_teachers(data_set, tmp_path):
    assert move_folder(artifact_of(), tmp_path)["dim"] == TEACHER_DIM
