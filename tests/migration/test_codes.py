"""An index moved as codes: what faiss, usearch and sentence-transformers take, with the calibration beside it."""

import json

import numpy as np
import pytest
from small_moves import ROWS, STUDENT_DIM, TEACHER_DIM, Stopped, artifact_of, expected, stop_at

from alignkit.errors import ConfigError
from alignkit.migration import moving, new_rows
from alignkit.migration.moving import migrate


@pytest.fixture(autouse=True)
def small_commits(small_blocks, monkeypatch):
    """After 128 rows of int8."""
    monkeypatch.setattr(moving, "COMMIT_BYTES", TEACHER_DIM * 128)


@pytest.fixture
def old(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((ROWS, STUDENT_DIM)).astype(np.float32)
    np.save(tmp_path / "old.npy", vectors)
    return vectors


def test_int8_is_what_sentence_transformers_would_make_of_the_vectors(old, tmp_path):
    quantization = pytest.importorskip("sentence_transformers.util.quantization")
    manifest = migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")
    made, ranges = np.load(tmp_path / "new.npy"), np.load(tmp_path / "new.ranges.npy")
    assert (made.dtype, made.shape, ranges.shape) == (np.int8, (ROWS, TEACHER_DIM), (2, TEACHER_DIM))
    theirs = quantization.quantize_embeddings(expected(old, artifact_of()), "int8", ranges=ranges)
    # blocks round differently in the last place, and a number may lie there on the edge of a step
    assert (np.abs(made.astype(int) - theirs) <= 1).all() and (made == theirs).mean() > 0.99
    assert manifest["verification"]["mean_cosine_of_code"] > 0.999
    assert json.loads((tmp_path / "new.npy.json").read_text(encoding="utf-8")) == manifest
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["new.npy", "new.npy.json", "new.ranges.npy", "old.npy"]


def test_bits_are_searched_by_faiss(old, tmp_path):
    faiss = pytest.importorskip("faiss")
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="binary")
    made = np.load(tmp_path / "new.npy")
    assert (made.dtype, made.shape) == (np.uint8, (ROWS, 2))  # 12 bits in two bytes
    index = faiss.IndexBinaryFlat(16)
    index.add(made)
    aligned = expected(old, artifact_of())
    distances, _ = index.search(np.packbits(aligned[:50] > 0, axis=1), 1)
    assert not distances.any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.npy", "new.npy.json", "old.npy"]


@pytest.mark.parametrize(("codes", "width", "dtype"), [
    ("int8,dims=5", 5, np.int8), ("binary,dims=9", 2, np.uint8), ("dims=5", 5, np.float32),
    ("float16,dims=5", 5, np.float16),
])  # fmt: skip
def test_fewer_dimensions(codes, width, dtype, old, tmp_path):
    manifest = migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes=codes)
    made = np.load(tmp_path / "new.npy")
    assert (made.shape, made.dtype) == ((ROWS, width), dtype)
    assert manifest["dim"] == TEACHER_DIM and manifest["code_bytes"] == made[0].nbytes
    if dtype == np.float32:
        cut = expected(old, artifact_of())[:, :5]
        np.testing.assert_allclose(made, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("rows", [0, 64, 300, 1000])
def test_an_interrupted_move_ends_byte_for_byte_the_same(rows, old, tmp_path):
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "whole.npy", codes="int8")
    with pytest.raises(Stopped):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", progress=stop_at(rows), codes="int8")
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")
    for suffix in (".npy", ".ranges.npy"):
        assert (tmp_path / f"new{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_ranges_of_a_sample_clip_what_lies_outside(old, tmp_path, monkeypatch):
    monkeypatch.setattr(new_rows, "CALIBRATION_ROWS", 100)
    manifest = migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")
    made = np.load(tmp_path / "new.npy")
    assert {-128, 127} <= set(made.ravel().tolist())
    assert manifest["verification"]["mean_cosine_of_code"] > 0.99


def test_other_codes_are_not_taken_for_the_same_move(old, tmp_path):
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")  # once more is harmless
    for codes in ("binary", "int8,dims=5", None):
        with pytest.raises(ConfigError, match="exists and was not made from this index"):
            migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes=codes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"codes": "int4"}, "codes=int4: expected float32, float16, int8, binary or dims=256"),
        ({"codes": "int8,binary"}, "an index holds one kind of code"),
        ({"codes": "int8,dims=4,dims=8"}, "an index holds one kind of code"),
        ({"codes": "int8,dims=13"}, "dims=13: the vectors have 12 dimensions"),
        ({"codes": "int8", "dtype": "float16"}, "leave dtype out"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(settings, words, old, tmp_path):
    with pytest.raises(ConfigError, match=words):
        migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["old.npy"]


@pytest.mark.parametrize("count", [1, 2])
def test_an_index_of_one_text(count, tmp_path):
    np.save(tmp_path / "old.npy", np.ones((count, STUDENT_DIM), np.float32))
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")
    assert np.load(tmp_path / "new.npy").shape == (count, TEACHER_DIM)


def test_a_table_keeps_its_other_columns(old, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"id": [f"d{row}" for row in range(ROWS)], "vector": [list(map(float, row)) for row in old]})
    parquet.write_table(table, tmp_path / "old.parquet")
    migrate(tmp_path / "old.parquet", artifact_of(), tmp_path / "new.parquet", codes="int8")
    made = parquet.read_table(tmp_path / "new.parquet")
    assert made["id"].to_pylist() == table["id"].to_pylist()
    assert made.schema.field("vector").type.value_type == arrow.int8()
    stored = np.array(made["vector"].to_pylist())
    migrate(tmp_path / "old.npy", artifact_of(), tmp_path / "new.npy", codes="int8")
    assert np.array_equal(stored, np.load(tmp_path / "new.npy"))
