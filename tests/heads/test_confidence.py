import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from alignkit.artifact import Artifact, load_artifact, save_artifact
from alignkit.errors import DataError
from alignkit.heads.confidence import ConfidenceEstimate, rising
from alignkit.heads.linear import LinearHead
from alignkit.vectors import l2_normalize


def make_queries(count, seed):
    """Queries that find less the farther they are from where the training sentences are."""
    generator = torch.Generator().manual_seed(seed)
    far = torch.rand(count, generator=generator)
    spread = torch.randn(count, 8, generator=generator)
    student = l2_normalize(torch.eye(8)[0] + far[:, None] * spread)
    shares = (1 - far + 0.1 * torch.randn(count, generator=generator)).clamp(0, 1)
    return student, shares


@pytest.fixture
def confidence():
    part = ConfidenceEstimate(8, anchors=32)
    part.fit(*make_queries(800, seed=0), references=make_queries(400, seed=1)[0])
    return part


def test_tells_the_good_from_the_bad_on_new_queries(confidence):
    student, shares = make_queries(800, seed=2)
    assert scipy.stats.spearmanr(confidence(student), shares).statistic > 0.6


def test_is_calibrated_on_new_queries(confidence):
    student, shares = make_queries(2000, seed=3)
    told = confidence(student)
    for part in told.argsort().tensor_split(5):
        assert float(told[part].mean()) == pytest.approx(float(shares[part].mean()), abs=0.06)


@pytest.mark.parametrize("count", [1, 2, 32])
def test_shares_are_raised_as_scipy_raises_them(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        values, weights = rng.random(count) + np.linspace(0, 1, count), rng.integers(1, 9, count)
        wanted = scipy.optimize.isotonic_regression(values, weights=weights).x
        np.testing.assert_allclose(rising(torch.from_numpy(values), torch.from_numpy(weights)), wanted, atol=1e-12)


def test_is_a_share_whatever_the_vector(confidence):
    odd = torch.cat([torch.zeros(1, 8), 1e6 * torch.eye(8), -torch.eye(8), torch.eye(8) * 1e-20])
    told = confidence(odd)
    assert told.shape == (25,) and told.isfinite().all()
    assert ((told >= 0) & (told <= 1)).all()
    assert torch.equal(confidence(7 * odd[1:9]), confidence(odd[1:9]))


def test_shares_rise_with_the_score(confidence):
    assert (confidence.shares.diff() >= 0).all() and (confidence.knots.diff() >= 0).all()
    assert float(confidence.shares[-1] - confidence.shares[0]) > 0.3


def test_comes_back_as_part_of_an_artifact(confidence, tmp_path):
    save_artifact(Artifact({"query_head": LinearHead(8, 12), "confidence": confidence}), tmp_path)
    student = make_queries(50, seed=4)[0]
    np.testing.assert_allclose(load_artifact(tmp_path).parts["confidence"](student), confidence(student), atol=1e-6)


def test_refuses_to_learn_from_a_handful():
    student, shares = make_queries(19, seed=0)
    with pytest.raises(DataError, match="at least 20"):
        ConfidenceEstimate(8).fit(student, shares, student)


def test_fewer_sentences_than_anchors():
    student, shares = make_queries(40, seed=0)
    part = ConfidenceEstimate(8, anchors=64)
    part.fit(student, shares, student[:10])
    assert part(student).isfinite().all()
