"""The leak check: equality is claimed against what the head was trained on, never against what only may be it."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest

from alignkit.errors import AlignkitError, ArtifactError, DataError
from alignkit.evaluation.leak_checks import check_against, check_leaks, find_vector_leaks, leaks_of_splits
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.evaluation_set import Side
from alignkit.pairs.vectors import load_vectors
from alignkit.pairs.views import RowIds
from alignkit.runs.fingerprints import (
    FINGERPRINTS,
    VECTOR_FINGERPRINTS,
    WORD_FINGERPRINTS,
    save_fingerprints,
    training_fingerprints,
    vector_fingerprints,
    word_fingerprints,
)
from alignkit.sentences.normalise import words


def side_of(pairs):
    return Side(pairs.student, pairs.teacher, pairs.texts)


def swapped(splits):
    """The same sentences dealt anew: a third of what was trained on is tested."""
    train, test = splits.train, splits.test

    def part(pairs, rows):
        fields = {name: getattr(pairs, name) for name in ("student", "teacher")}
        texts = None if pairs.texts is None else [pairs.texts[row] for row in rows]
        return dataclasses.replace(
            pairs, ids=[pairs.ids[row] for row in rows], texts=texts, labels=None, groups=None,
            **{name: value[rows] for name, value in fields.items()},
        )  # fmt: skip

    return PairSplits(part(test, range(len(test))), splits.validation, part(train, range(200)), splits.origin)


def test_texts_of_a_run_are_remembered(demo_splits, tmp_path):
    save_fingerprints(tmp_path, demo_splits)
    assert len(training_fingerprints(tmp_path)) == 3000
    assert training_fingerprints(tmp_path, VECTOR_FINGERPRINTS) is None  # the sentences say it better
    own = check_leaks(side_of(demo_splits.test), tmp_path, demo_splits)
    assert own.seen == 0
    assert own.line.startswith("0 of 600 queries are among the sentences that this head was trained on; ")
    assert "near-duplicate among 2,700 training texts (" in own.line


def test_words_of_a_run_are_remembered(demo_splits, tmp_path):
    save_fingerprints(tmp_path, demo_splits)
    known = training_fingerprints(tmp_path, WORD_FINGERPRINTS)
    said = sorted({word for text in demo_splits.train.texts for word in words(text)})
    assert 1_000 < len(known) < 10_000 and np.isin(word_fingerprints(said), known).all()
    assert not np.isin(word_fingerprints(["kubelet", "segfault"]), known).any()


def test_sentences_dealt_anew_are_noticed(demo_splits, tmp_path, caplog):
    save_fingerprints(tmp_path, demo_splits)
    anew = swapped(demo_splits)
    found = check_leaks(side_of(anew.test), tmp_path, anew)
    assert found.seen == 200 and "200 of 200 queries" in found.line
    assert "flatter" in caplog.text
    # its training split is clean, and is not what the head was trained on
    assert "600 training texts of this data, which need not be what the head was trained on" in found.line
    assert "no test text" not in found.line


def test_without_fingerprints_nothing_is_claimed(demo_splits, tmp_path):
    for run in (None, tmp_path):
        found = check_leaks(side_of(demo_splits.test), run, demo_splits)
        assert found.seen is None
        assert found.line.startswith("what this head was trained on is not known; ")
        assert "no test text stands" not in found.line and "need not be" in found.line
    assert check_leaks(side_of(demo_splits.test), None).line == "what this head was trained on is not known"


def test_a_text_of_both_splits_is_said(demo_splits):
    doubled = dataclasses.replace(demo_splits, train=demo_splits.test)
    assert "in this data 600 of 600 test texts are in" in check_leaks(side_of(doubled.test), None, doubled).line


def test_rows_of_bare_vectors_dealt_anew_are_noticed(make_pairs, tmp_path):
    pairs = make_pairs(400)
    np.save(tmp_path / "student.npy", pairs.student.astype(np.float32))
    np.save(tmp_path / "teacher.npy", pairs.teacher)
    files = str(tmp_path / "student.npy"), str(tmp_path / "teacher.npy")
    first, other = load_vectors(*files, seed=0), load_vectors(*files, seed=1)
    save_fingerprints(tmp_path, first)
    assert not (tmp_path / FINGERPRINTS).exists()
    own = check_leaks(side_of(first.test), tmp_path, first)
    assert own.seen == 0
    assert own.line.startswith("0 of 40 queries are among the student vectors that this head was trained on; ")
    assert "0 of 40 test pairs compared are nearly equal to one of 320 training pairs" in own.line
    assert check_leaks(side_of(other.test), tmp_path, other).seen > 30


def bare(splits, **changes):
    parts = {name: dataclasses.replace(getattr(splits, name), texts=None) for name in ("train", "validation", "test")}
    return PairSplits(**parts | changes, origin=splits.origin)


def test_pairs_of_vectors_that_stand_in_training_are_refused_as_texts_are(demo_splits):
    clean = bare(demo_splits)
    assert leaks_of_splits(clean).startswith("no test pair is in the training split; ")
    seen = dataclasses.replace(
        clean.test,
        student=np.concatenate([clean.test.student[:-19], clean.validation.student[:19]]),
        teacher=np.concatenate([clean.test.teacher[:-19], clean.validation.teacher[:19]]),
    )
    with pytest.raises(DataError, match="19 of 600 test pairs are in the training split too, .*test row 581"):
        leaks_of_splits(bare(demo_splits, test=seen))
    # another sentence with the same student vector, as a student that ignores the order of words gives it
    anagram = dataclasses.replace(seen, teacher=clean.test.teacher)
    assert "no test pair is in the training" in leaks_of_splits(bare(demo_splits, test=anagram))


def test_vectors_of_one_text_from_two_batches_are_nearly_equal(demo_splits):
    noise = np.random.default_rng(0)
    clean = bare(demo_splits)

    def again(vectors):
        rows = np.asarray(vectors[:7], dtype=np.float32)
        return rows + 1e-4 * np.abs(rows).mean() * noise.normal(size=rows.shape).astype(np.float32)

    near = dataclasses.replace(
        clean.test,
        student=np.concatenate([clean.test.student[7:], again(clean.train.student)]),
        teacher=np.concatenate([clean.test.teacher[7:], again(clean.train.teacher)]),
    )
    assert "7 of 600 test pairs compared are nearly equal to one" in leaks_of_splits(bare(demo_splits, test=near))


def test_many_pairs_that_are_nearly_those_of_training_are_a_warning(demo_splits, caplog):
    clean = bare(demo_splits)
    count = len(clean.test)
    longer = {side: np.asarray(getattr(clean.train, side)[:count]) * 3 for side in ("student", "teacher")}
    line = leaks_of_splits(bare(demo_splits, test=dataclasses.replace(clean.test, **longer)))
    assert "600 of 600 test pairs compared are nearly equal to one" in line
    assert "600 of 600 test pairs compared are nearly equal to training pairs: the figures flatter" in caplog.text


def test_sentences_on_one_side_only_are_compared_by_vector(demo_splits, tmp_path):
    bare = dataclasses.replace(demo_splits, test=dataclasses.replace(demo_splits.test, texts=None))
    save_fingerprints(tmp_path, bare)
    assert check_leaks(side_of(bare.test), tmp_path).seen == 0
    assert check_leaks(side_of(dataclasses.replace(demo_splits.train, texts=None)), tmp_path).seen == 2700


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_vector_has_one_fingerprint_in_every_type(dtype):
    vectors = np.random.default_rng(0).normal(size=(300, 48)).astype(np.float16)
    vectors[5] = 0
    vectors[6] = -vectors[5]
    found = vector_fingerprints(vectors.astype(dtype))
    assert found.dtype == np.uint64 and len(np.unique(found)) == 299 and found[5] == found[6]
    np.testing.assert_array_equal(found, vector_fingerprints(vectors))


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e9, 1e30])
def test_vectors_of_any_scale_are_told_apart(scale):
    vectors = (np.random.default_rng(0).normal(size=(300, 48)) * scale).astype(np.float32)
    assert len(np.unique(vector_fingerprints(vectors))) == 300


def test_reading_in_blocks_changes_nothing(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    whole = vector_fingerprints(vectors)
    monkeypatch.setattr("alignkit.pairs.vector_fingerprints._BLOCK_ELEMENTS", 50)
    np.testing.assert_array_equal(vector_fingerprints(vectors), whole)


def test_of_too_many_vectors_none_are_kept(splits, tmp_path, monkeypatch):
    monkeypatch.setattr("alignkit.runs.fingerprints.MOST_VECTORS", 300)
    save_fingerprints(tmp_path, splits)
    assert not list(tmp_path.iterdir())
    assert check_leaks(side_of(splits.test), tmp_path, splits).seen is None


def test_a_folder_that_cannot_be_written_is_named(splits, tmp_path):
    with pytest.raises(AlignkitError, match="training_vectors.npy: could not be written"):
        save_fingerprints(tmp_path / "gone", splits)


@pytest.mark.parametrize("content", [b"garbage", b"", "objects", np.zeros((3, 3)), np.zeros(3), np.array(["a"])])
def test_training_fingerprints_of_somebody_else_are_checked(tmp_path, content):
    path = tmp_path / FINGERPRINTS
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        np.save(path, content)
    with pytest.raises(ArtifactError, match="not what train keeps of its training pairs") as refused:
        training_fingerprints(tmp_path)
    assert "\n" not in str(refused.value)


def test_the_pairs_trained_on_are_looked_through_a_block_at_a_time(monkeypatch):
    """Of the training pairs nothing is kept, however many there are: only the test split is."""
    monkeypatch.setattr("alignkit.pairs.vector_fingerprints._BLOCK_ELEMENTS", 8_000)
    monkeypatch.setattr("alignkit.evaluation.leak_checks.MOST_AGAINST", 500)
    peaks = {}
    for count in (10_000, 50_000):
        vectors = np.random.default_rng(0).standard_normal((count + 1_000, 8)).astype(np.float16)
        train, rest = (Pairs(RowIds(np.arange(len(part))), part, part) for part in (vectors[1_000:], vectors[:1_000]))
        splits = PairSplits(train, rest, rest)
        tracemalloc.start()
        with pytest.raises(DataError, match="1,000 of 1,000 test pairs are in the training split"):
            leaks_of_splits(splits)
        assert check_against(Side(rest.student, rest.teacher), splits).seen == 1_000
        assert find_vector_leaks([train], rest).startswith("no test pair")
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # the seeded sample of rows that near-equality is looked for in takes 8 bytes a row
    assert (peaks[50_000] - peaks[10_000]) / 40_000 < 12
