import json
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from alignkit.errors import ConfigError, DataError
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.pairs import vector_fingerprints
from alignkit.pairs.vectors import load_vectors
from alignkit.runs.fingerprints import VECTOR_FINGERPRINTS, save_fingerprints, training_fingerprints
from alignkit.sentences.splits import split_groups


@pytest.fixture
def folder(tmp_path, make_pairs):
    pairs = make_pairs(100)
    np.save(tmp_path / "s.npy", pairs.student)
    np.save(tmp_path / "t.npy", pairs.teacher)
    return tmp_path


def load(folder, **settings):
    arguments = {"student": str(folder / "s.npy"), "teacher": str(folder / "t.npy"), **settings}
    return load_vectors(**arguments)


def test_a_seeded_split_covers_every_row_once_and_keeps_pairs_together(folder):
    splits = load(folder)
    parts = [splits.train, splits.validation, splits.test]
    assert sorted(row for part in parts for row in part.ids) == sorted(f"row-{row}" for row in range(100))
    assert [len(part) for part in parts] == [80, 10, 10]
    whole = np.load(folder / "s.npy"), np.load(folder / "t.npy")
    for part in parts:
        rows = [int(name.removeprefix("row-")) for name in part.ids]
        assert np.array_equal(part.student[:], whole[0][rows]) and np.array_equal(part.teacher[:], whole[1][rows])
    assert load(folder).test.ids == splits.test.ids != load(folder, seed=1).test.ids


def test_equal_sentences_stay_in_one_split(folder):
    texts = [f"Sentence {row % 50}" + "!" * (row // 50) for row in range(100)]
    (folder / "x.txt").write_text("\n".join(texts), encoding="utf-8")
    splits = load(folder, sentences=str(folder / "x.txt"))
    seen = [{text.rstrip("!") for text in part.texts} for part in (splits.train, splits.validation, splits.test)]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def spread(splits):
    """Which splits each sentence stands in, by its original row."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    rows = {name: {int(one.rpartition("-")[2]) % 50 for one in part.ids} for name, part in parts.items()}
    return [{name for name in rows if row in rows[name]} for row in range(50)]


def twice(vectors, jitter):
    again = vectors[:50] + jitter * np.random.default_rng(1).standard_normal((50, vectors.shape[1]))
    return np.concatenate([vectors[:50], again]).astype(np.float32)


@pytest.mark.parametrize(
    ("student_jitter", "teacher_jitter"),
    [(0, 0), (0, 1e-3), (1e-3, 0)],
    ids=["the pair", "the student's vector", "the teacher's vector"],
)
@pytest.mark.parametrize("with_texts", [True, False])
def test_what_stands_twice_stays_in_one_split(folder, student_jitter, teacher_jitter, with_texts):
    for name, jitter in (("s", student_jitter), ("t", teacher_jitter)):
        np.save(folder / f"{name}.npy", twice(np.load(folder / f"{name}.npy"), jitter))
    settings = {}
    if with_texts:  # different words: only the vectors tell
        (folder / "x.txt").write_text("\n".join(f"sentence of row-{row}" for row in range(100)), encoding="utf-8")
        settings["sentences"] = str(folder / "x.txt")
    splits = load(folder, **settings)
    parts = (splits.train, splits.validation, splits.test)
    assert sum(map(len, parts)) == 100 and min(map(len, parts)) >= 10
    if with_texts:
        said = [{int(text.rpartition("-")[2]) % 50 for text in part.texts} for part in parts]
        assert not said[0] & said[1] and not said[0] & said[2] and not said[1] & said[2]
    else:
        assert all(len(where) == 1 for where in spread(splits))
    assert "vectors together" in splits.origin.split


def test_equal_vectors_are_found_whatever_their_float_type_and_across_texts_and_vectors(folder):
    whole = np.load(folder / "s.npy")
    whole[10] = whole[20].astype(np.float16)
    np.save(folder / "s.npy", whole)
    texts = [f"sentence {row}" for row in range(100)]
    texts[30] = texts[20].upper()  # 10 is 20 by its vector, 20 is 30 by its text
    (folder / "x.txt").write_text("\n".join(texts), encoding="utf-8")
    for seed in range(8):
        splits = load(folder, sentences=str(folder / "x.txt"), seed=seed)
        wanted = {"sentence 10", "sentence 20", "SENTENCE 20"}
        assert {len(wanted & set(part.texts)) for part in (splits.train, splits.validation, splits.test)} == {0, 3}


@pytest.mark.parametrize("side", ["s", "t"])
def test_a_side_with_one_vector_a_class_is_split_by_the_other(folder, side):
    np.save(folder / f"{side}.npy", np.eye(5, dtype=np.float32)[np.arange(100) % 5])
    assert [len(part) for part in (load(folder).train, load(folder).test)] == [80, 10]


def test_few_sentences_many_times_are_told_apart(folder):
    for name in ("s", "t"):
        np.save(folder / f"{name}.npy", np.tile(np.load(folder / f"{name}.npy")[:5], (20, 1)))
    splits = load(folder)
    found = [{row.tobytes() for row in part.student[:]} for part in (splits.train, splits.validation, splits.test)]
    assert list(map(len, found)) == [3, 1, 1] and len(set.union(*found)) == 5


def test_one_sentence_a_hundred_times_is_refused(folder):
    for name in ("s", "t"):
        np.save(folder / f"{name}.npy", np.tile(np.load(folder / f"{name}.npy")[:1], (100, 1)))
    with pytest.raises(DataError, match="s.npy: 100 rows are vectors of 1 different sentence.*at least 3"):
        load(folder)


def test_rows_that_differ_are_split_as_ever(folder):
    expected = split_groups([f"row-{row}" for row in range(100)], seed=0)
    splits = load(folder)
    for rows, part in zip(expected, (splits.train, splits.validation, splits.test), strict=True):
        assert part.ids == [f"row-{row}" for row in rows]


def test_test_files_are_the_test_split(folder, make_pairs):
    held_out = make_pairs(30, seed=5)
    np.save(folder / "ts.npy", held_out.student)
    np.save(folder / "tt.npy", held_out.teacher)
    splits = load(folder, test_student=str(folder / "ts.npy"), test_teacher=str(folder / "tt.npy"))
    assert len(splits.test) == 30 and np.array_equal(splits.test.student, held_out.student)
    assert len(splits.train) + len(splits.validation) == 100


def test_npz_and_safetensors(folder):
    student, teacher = np.load(folder / "s.npy"), np.load(folder / "t.npy")
    np.savez(folder / "both.npz", student=student, teacher=teacher)
    save_file({"a": student.astype(np.float16), "b": teacher}, folder / "both.safetensors")
    plain = load(folder)
    npz = load_vectors(*[str(folder / "both.npz")] * 2, student_key="student", teacher_key="teacher")
    tensors = load_vectors(*[str(folder / "both.safetensors")] * 2, student_key="a", teacher_key="b")
    assert np.array_equal(plain.train.student[:], npz.train.student[:])
    assert np.array_equal(plain.train.teacher[:], tensors.train.teacher[:])
    assert tensors.train.student.dtype == np.float16


def broken(folder, name, change):
    vectors = np.load(folder / "s.npy")
    path = folder / name
    result = change(vectors)
    if isinstance(result, bytes):
        path.write_bytes(result)
    elif result is not None:
        np.save(path, result, allow_pickle=True)
    return str(path)


def with_rows(vectors, rows, value):
    vectors = vectors.copy()
    vectors[rows] = value
    return vectors


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("fewer.npy", lambda v: v[:90], "has 90 rows.* has 100"),
        ("nan.npy", lambda v: with_rows(v, 42, np.nan), "row 42 holds nan"),
        ("inf.npy", lambda v: with_rows(v, 7, np.inf), "row 7 holds inf"),
        ("zero.npy", lambda v: with_rows(v, [5, 9, 60], 0), "3 zero vectors, the first in row 5"),
        ("flat.npy", lambda v: v[:, 0], r"expected a 2-D array .* got shape \(100,\)"),
        ("object.npy", lambda v: v.astype(object), "it holds Python objects, which are never unpickled"),
        ("integers.npy", lambda v: v.astype(np.int64), "expected float16, float32, float64, got int64"),
        ("missing.npy", lambda v: None, "no such file"),
        ("empty.npy", lambda v: b"", "the file is empty"),
        ("rows.npy", lambda v: v[:0], "holds no vectors"),
        ("garbage.npy", lambda v: b"\x07not an array", "expected a NumPy array"),
        ("cut.npy", lambda v: b"\x93NUMPY\x01\x00v\x00", "not a readable .npy"),
        ("garbage.npz", lambda v: b"\x07PK not a zip", "not a readable .npz"),
        ("garbage.safetensors", lambda v: b"\xff" * 20, "not a readable .safetensors"),
        ("header.safetensors", lambda v: (9).to_bytes(8, "little") + json.dumps([1, 2, 3]).encode(), "not a readable"),
        ("table.csv", lambda v: b"1,2", "expected one of .npy, .npz, .safetensors, got '.csv'"),
    ],
)
def test_a_bad_file_is_named_with_the_fix(folder, name, change, says):
    path = broken(folder, name, change)
    with pytest.raises(DataError, match=says) as caught:
        load(folder, student=path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_float16_near_its_limit_is_not_taken_for_infinite(folder):
    np.save(folder / "s.npy", np.full((100, 12), 60000, dtype=np.float16))
    load(folder)


def test_an_unknown_key_names_the_keys(folder):
    np.savez(folder / "two.npz", one=np.ones((30, 2)), two=np.ones((30, 2)))
    with pytest.raises(DataError, match="holds the arrays one, two"):
        load(folder, student=str(folder / "two.npz"))


def test_too_few_pairs(folder):
    for name in ("s", "t"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[:19])
    with pytest.raises(DataError, match="19 pairs, expected at least 20"):
        load(folder)


def test_test_files_must_fit_and_come_together(folder):
    np.save(folder / "wide.npy", np.ones((30, 13), dtype=np.float32))
    with pytest.raises(DataError, match="wide.npy: holds 13-d vectors, the training file 12-d"):
        load(folder, test_student=str(folder / "wide.npy"), test_teacher=str(folder / "wide.npy"))
    with pytest.raises(ConfigError, match="go together"):
        load(folder, test_student=str(folder / "s.npy"))


def test_sentences_must_match_the_rows(folder):
    (folder / "x.txt").write_text("only one\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 sentences, .* has 100 rows"):
        load(folder, sentences=str(folder / "x.txt"))


def traced_peak(work):
    tracemalloc.start()
    result = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak


@pytest.mark.parametrize("repeated", [0, 50], ids=["all differ", "some are equal"])
def test_rows_of_files_cost_a_few_numbers_each(tmp_path, repeated, monkeypatch):
    """Vectors stay in their files: of ten million rows, what is remembered fits into a gigabyte."""
    monkeypatch.setattr("alignkit.pairs.vector_fingerprints._BLOCK_ELEMENTS", 8_000)
    monkeypatch.setattr("alignkit.vector_files._CHECK_ELEMENTS", 8_000)
    peaks = {}
    for count in (10_000, 50_000):
        vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float16)
        vectors[count - repeated :] = vectors[:repeated]
        for name in ("s", "t"):
            np.save(tmp_path / f"{name}.npy", vectors)
        splits, peaks[count] = traced_peak(lambda: load(tmp_path))
        assert sum(map(len, splits.parts)) == count
    assert (peaks[50_000] - peaks[10_000]) / 40_000 < 100


def test_the_students_file_is_fingerprinted_once_for_all_that_ask(tmp_path, make_pairs, monkeypatch):
    pairs, read = make_pairs(400), []
    for name, side in (("s", pairs.student), ("t", pairs.teacher)):
        np.save(tmp_path / f"{name}.npy", side)
    bits = vector_fingerprints._float16_bits
    monkeypatch.setattr(
        vector_fingerprints, "_float16_bits", lambda rows: read.append((rows.shape[1], len(rows))) or bits(rows)
    )
    splits = load(tmp_path)
    assert "no test pair" in leaks_of_splits(splits)
    save_fingerprints(tmp_path, splits)
    assert sum(count for width, count in read if width == splits.train.student_dim) == 400
    kept = training_fingerprints(tmp_path, VECTOR_FINGERPRINTS)
    parts = splits.train, splits.validation
    whole = np.concatenate([vector_fingerprints.vector_fingerprints(np.asarray(part.student)) for part in parts])
    np.testing.assert_array_equal(kept, whole)
