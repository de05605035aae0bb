"""Heads are judged on texts unlike the training ones too."""

import numpy as np
import pytest

from alignkit.errors import ConfigError
from alignkit.heads.linear import LinearHead
from alignkit.losses.cosine import CosineLoss
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.selection.choose import select_head
from alignkit.selection.unlike import cluster_rows
from alignkit.training.device import choose_device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe


def clusters(count, seed, width=12):
    """Twenty far apart; in each the teacher is another rotation of the student."""
    generator = np.random.default_rng(99)
    centres = 3 * generator.standard_normal((20, width))
    mixing = generator.standard_normal((20, width, 16))
    generator = np.random.default_rng(seed)
    of = generator.integers(0, 20, count)
    own = generator.standard_normal((count, width))
    student = centres[of] + own
    teacher = np.einsum("nd,ndk->nk", own, mixing[of]) + 0.1 * generator.standard_normal((count, 16))
    student, teacher = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (student, teacher))
    ids = [f"{seed}-{row}" for row in range(count)]
    return Pairs(ids, student.astype(np.float32), teacher.astype(np.float32), labels=[str(one) for one in of])


def splits(train):
    return PairSplits(*(clusters(count, seed) for seed, count in enumerate((train, 300, 300))))


def candidates():
    return {"linear": Fitter(LinearHead, CosineLoss(), Recipe(), choose_device("cpu", "32-true"), init="closed_form")}


def test_clusters_are_held_out_whole():
    pairs = clusters(2000, seed=0)
    away = cluster_rows(pairs, seed=1)
    inside = {label for row, label in enumerate(pairs.labels) if row in set(away.tolist())}
    outside = {label for row, label in enumerate(pairs.labels) if row not in set(away.tolist())}
    assert 0.1 * 2000 <= len(away) <= 0.3 * 2000
    assert len(inside & outside) <= 1  # k-means may part one of them
    np.testing.assert_array_equal(away, cluster_rows(pairs, seed=1))


@pytest.mark.parametrize("target", ["overlap@10", "self_mrr"])
def test_the_reason_says_that_held_out_clusters_are_no_forecast_for_texts_from_elsewhere(target):
    selection = select_head(candidates(), splits(1500), target=target)
    tried = selection.tries[0]
    assert tried.unlike < tried.alike
    # clusters of the same source are easier than texts from elsewhere, so they are no forecast for those
    assert f"{tried.unlike:.3f} on clusters held out whole; expect less on texts from elsewhere" in selection.reason
    assert selection.to_json()["tries"][0]["unlike"] == tried.unlike
    assert tried.quality.value == pytest.approx((tried.alike + tried.unlike) / 2, abs=0.03)


@pytest.mark.parametrize(("train", "hold_out"), [(1500, "random"), (900, "both")])
def test_without_clusters_the_validation_split_alone_decides(train, hold_out):
    selection = select_head(candidates(), splits(train), hold_out=hold_out)
    assert selection.tries[0].unlike is None and "other texts" not in selection.reason


def test_another_way_to_hold_out_is_refused():
    with pytest.raises(ConfigError, match="hold_out=none: expected both or random"):
        select_head(candidates(), splits(200), hold_out="none")
