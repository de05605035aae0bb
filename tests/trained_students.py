"""Fixtures: the demo pack's two-layer student as one that was trained, its static one as what it was before."""

from __future__ import annotations

import dataclasses

import pytest
from measured_sets import ridge_of

from alignkit.artifact import Artifact
from alignkit.evaluation.before import Before
from alignkit.evaluation.comparison import compare
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import set_of_pairs
from alignkit.training.whitening_choice import choose_whitening


@pytest.fixture(scope="session")
def before():
    splits = load_demo("static")
    head = ridge_of(splits.train.student, splits.train.teacher)
    parts = {"query_head": head, "whitening": choose_whitening(head, splits).part}
    return Before(set_of_pairs(splits.test, splits.origin), Artifact(parts))


@pytest.fixture(scope="session")
def whitened(demo_splits, demo_artifact):
    part = choose_whitening(demo_artifact.head, demo_splits).part
    return dataclasses.replace(demo_artifact, parts={**demo_artifact.parts, "whitening": part})


@pytest.fixture(scope="session")
def trained(demo_set, whitened, demo_baselines, before):
    return compare(demo_set, whitened, demo_baselines, before=before)
