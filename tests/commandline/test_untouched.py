"""The student before it was trained, called again to be compared with, or a line that says why it is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from measured_sets import ridge_of

from alignkit.artifact import Artifact, save_artifact
from alignkit.commandline.untouched import untouched
from alignkit.evaluation.comparison import compare
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import set_of_pairs

pytest.importorskip("wordllama")
SETTINGS = {"data": {}, "time_embedding": False}
TRAINED = {"tuned": {"cosine_mean": 0.7}}


@pytest.fixture(scope="module")
def static():
    splits = load_demo("static")
    identities = (splits.origin.student_identity, splits.origin.teacher_identity)
    return splits, Artifact({"query_head": ridge_of(splits.train.student, splits.train.teacher)}, *identities)


@pytest.fixture(scope="module")
def trained():
    """The two-layer student of the demo pack, as if the static one had been trained to it."""
    splits = load_demo("two_layer")
    identities = (splits.origin.student_identity, splits.origin.teacher_identity)
    head = ridge_of(splits.train.student, splits.train.teacher)
    return splits, Artifact({"query_head": head}, *identities, metrics=TRAINED)


def test_it_is_called_on_the_texts_that_are_measured(static, trained, tmp_path):
    splits, artifact = trained
    test = set_of_pairs(splits.test, splits.origin, most=200)
    save_artifact(static[1], tmp_path / "start" / "head")
    before, reason = untouched(artifact, tmp_path, test, splits, SETTINGS)
    assert reason is None and before.test.queries.texts == test.queries.texts
    own = set_of_pairs(static[0].test, static[0].origin, most=200).queries
    cosines = (before.test.queries.student * own.student).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=2e-3)  # the demo pack has them in float16
    rows = compare(test, artifact, before=before, resamples=20).rows
    assert rows["aligned"]["cosine_mean"] < rows["tuned"]["cosine_mean"] and "student" in rows


def test_a_head_alone_has_nothing_before_it(static):
    splits, artifact = static
    test = set_of_pairs(splits.test, splits.origin, most=60)
    assert untouched(artifact, None, test, splits, SETTINGS) == (None, None)


def test_where_it_cannot_be_called_one_line_says_why(static, trained, tmp_path):
    splits, artifact = trained
    test = set_of_pairs(splits.test, splits.origin, most=60)

    def reason(run):
        before, said = untouched(artifact, run, test, splits, SETTINGS)
        assert before is None and said.startswith("the head alone is not shown beside the trained student: ")
        return said

    assert reason(None).endswith("the run folder does not have it") and reason(tmp_path) == reason(None)
    elsewhere = dataclasses.replace(static[1], student_identity={"backend": "table", "model": "table-0123"})
    save_artifact(elsewhere, tmp_path / "start" / "head")
    assert "student.path" in reason(tmp_path) or "path is not set" in reason(tmp_path)
    (tmp_path / "start" / "head" / "head.json").write_text("{}", encoding="utf-8")
    assert "head.json" in reason(tmp_path)


def test_another_model_of_that_name_is_refused_not_compared(static, trained, tmp_path):
    splits, artifact = trained
    test = set_of_pairs(splits.test, splits.origin, most=60)
    changed = {**static[1].student_identity, "digest": "0" * 64}
    save_artifact(dataclasses.replace(static[1], student_identity=changed), tmp_path / "start" / "head")
    before, said = untouched(artifact, tmp_path, test, splits, SETTINGS)
    assert before is None and "digest" in said
