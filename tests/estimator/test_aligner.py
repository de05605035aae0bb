"""A head in scikit-learn's protocol, with the real package."""

import sys

import numpy as np
import pytest

import alignkit
from alignkit.errors import ConfigError, DataError, MissingExtraError
from alignkit.pairs.demo import load_demo

UNTRAINED = {"trainer.max_epochs": 0}


@pytest.fixture(scope="module")
def arrays():
    pairs = load_demo("static").train
    return np.asarray(pairs.student[:300], np.float32), np.asarray(pairs.teacher[:300], np.float32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scikit_learns_own_checks():
    """They know only class labels as `y`, which are no vectors: here each label and row is one."""
    from sklearn.utils.estimator_checks import check_estimator
    from sklearn.utils.validation import check_array

    global OfLabels  # to be found by pickle

    class OfLabels(alignkit.Aligner):
        def fit(self, X, y):  # noqa: N803
            return super().fit(X, self.vectors(y))

        def score(self, X, y):  # noqa: N803
            return super().score(X, self.vectors(y))

        def vectors(self, y):
            if y is None:
                return None
            labels = check_array(y, ensure_2d=False).reshape(-1)
            return np.stack([labels + 1.0 + abs(labels.min()), np.arange(1.0, len(labels) + 1)], axis=1)

    no_sense = {
        "check_estimators_dtypes": "its whole numbers hold a row of zeros, which has no direction",
        "check_array_api_input": "arrays of other libraries become NumPy's",
    }
    found = check_estimator(OfLabels("linear", settings=UNTRAINED), expected_failed_checks=no_sense, on_skip=None)
    assert {one["check_name"] for one in found if one["status"] != "passed"} <= set(no_sense)
    assert len(found) > 45


def test_in_a_pipeline_and_a_search_over_settings(arrays):
    from sklearn.base import clone
    from sklearn.decomposition import PCA
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    student, teacher = arrays
    pipeline = make_pipeline(PCA(64, random_state=0), alignkit.Aligner("linear", settings=UNTRAINED))
    strengths = [{**UNTRAINED, "model.ridge_lambda": strength} for strength in (1e-3, 1e6)]
    search = GridSearchCV(pipeline, {"aligner__settings": strengths}, cv=2).fit(student, teacher)
    assert search.best_params_["aligner__settings"] is strengths[0]
    weak, strong = search.cv_results_["mean_test_score"]
    assert weak > strong + 0.05  # which gives every text nearly the same vector
    aligned = search.transform(student[:5])
    assert aligned.shape == (5, 384) and aligned.dtype == np.float32
    scores = cross_val_score(clone(pipeline), student, teacher, cv=2)
    assert scores.mean() == pytest.approx(weak, abs=0.05)  # by the strength that the ridge chooses itself
    named = alignkit.Aligner("linear", settings=UNTRAINED).set_output(transform="pandas").fit(student, teacher)
    assert list(named.transform(student[:2]).columns[:2]) == ["aligner0", "aligner1"]


def test_what_it_fitted_is_a_head_like_any_other(arrays, tmp_path):
    student, teacher = arrays
    aligner = alignkit.Aligner("kernel", settings=UNTRAINED, seed=3).fit(student, teacher)
    assert aligner.score(student, teacher) > 0.6
    aligner.fitted_.save(tmp_path / "my_head")
    again = alignkit.load(tmp_path / "my_head")
    np.testing.assert_array_equal(again.transform(student, role="document"), aligner.transform(student))
    assert again.artifact.head.kind() == "kernel"
    assert repr(aligner) == "Aligner(model='kernel', seed=3, settings={'trainer.max_epochs': 0})"


@pytest.mark.parametrize(
    ("given", "change", "error", "says"),
    [
        ({}, lambda teacher: teacher[:, 0], ValueError, r"y: expected the teacher's vectors, .* got \(300,\)"),
        ({}, lambda teacher: teacher * 0, DataError, "y: 300 zero vectors, the first in row 0"),
        ({}, lambda teacher: teacher[:10], ValueError, "inconsistent numbers of samples"),
        ({"model": "nonesuch"}, None, ConfigError, "model=nonesuch: expected one of"),
        ({"settings": ["lr"]}, None, ConfigError, r"settings=\['lr'\]: expected names with values"),
        (
            {"validation": "a tenth"},
            None,
            ConfigError,
            "validation=a tenth: expected a number of at least 0 and below 1",
        ),
        ({"settings": {"model.hiden": 1}}, None, ConfigError, "unknown setting 'model.hiden'"),
    ],
)
def test_what_is_wrong_is_said(arrays, given, change, error, says):
    student, teacher = arrays
    with pytest.raises(error, match=says):
        alignkit.Aligner(**{"model": "linear", **given}).fit(student, change(teacher) if change else teacher)


def test_a_score_needs_the_teachers_vectors(arrays):
    student, teacher = arrays
    aligner = alignkit.Aligner("linear", settings=UNTRAINED).fit(student, teacher)
    with pytest.raises(ConfigError, match=r"y: expected the teacher's vectors, shape \(300, 384\), got \(300, 5\)"):
        aligner.score(student, teacher[:, :5])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        aligner.score(student, np.full_like(teacher, np.nan))


def test_without_scikit_learn_its_extra_is_named(monkeypatch):
    for name in [one for one in sys.modules if one.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "alignkit.estimator.aligner", raising=False)
    with pytest.raises(MissingExtraError, match='scikit-learn is not installed; .* pip install "alignkit.sklearn."'):
        _ = alignkit.Aligner
