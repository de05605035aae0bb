"""What a run keeps of its held-out pairs."""

import dataclasses

import numpy as np
import pytest

from alignkit.runs.held_out_sample import CANARIES, HELD_OUT_SAMPLE, HeldOutSample


@pytest.fixture(scope="module")
def sample(demo_splits):
    return HeldOutSample.of(demo_splits)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_run_keeps_it(sample, tmp_path, scale):
    dataclasses.replace(sample, student=sample.student * np.float32(scale)).save(tmp_path)
    loaded = HeldOutSample.load(tmp_path)
    np.testing.assert_allclose(loaded.student / scale, sample.student, atol=1e-3)
    assert ((loaded.teacher * sample.teacher).sum(axis=1) > 0.9999).all()
    assert loaded.canary.texts == sample.canary.texts and len(loaded.canary.texts) == CANARIES
    np.testing.assert_array_equal(loaded.canary.student, sample.canary.student)
    assert (tmp_path / HELD_OUT_SAMPLE).stat().st_size < 1_000_000


def test_its_texts_have_several_words_and_stand_with_their_own_vectors(sample, demo_splits):
    rows = [list(demo_splits.test.texts).index(text) for text in sample.canary.texts]
    assert all(len(text.split()) >= 4 for text in sample.canary.texts)
    np.testing.assert_array_equal(sample.canary.student, np.asarray(demo_splits.test.student[rows], np.float32))


def test_without_texts_no_model_can_be_told(splits, tmp_path):
    HeldOutSample.of(splits).save(tmp_path)
    loaded = HeldOutSample.load(tmp_path)
    assert loaded.canary is None and len(loaded.student) == 60


def test_one_that_is_missing_or_damaged_is_none(tmp_path):
    assert HeldOutSample.load(None) is None and HeldOutSample.load(tmp_path) is None
    (tmp_path / HELD_OUT_SAMPLE).write_bytes(b"damaged")
    assert HeldOutSample.load(tmp_path) is None


def test_new_pairs_join_it_and_those_that_are_trained_on_later_leave_it(sample):
    own, new = (
        HeldOutSample(sample.student[part], sample.teacher[part], sample.canary)
        for part in np.split(np.arange(90), [60])
    )
    both = own.joined(new, 0.1)
    places = [int(np.flatnonzero((sample.student == row).all(axis=1))[0]) for row in both.student]
    assert sorted(places) == list(range(90)) and both.canary == sample.canary
    np.testing.assert_array_equal(both.teacher, sample.teacher[places])  # each still beside its own
    left = both.without(sample.student[:10])
    assert len(left.student) == len(left.teacher) == 80
    assert both.without(sample.canary.student[:1]).canary is None
