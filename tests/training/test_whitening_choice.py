"""Queries are whitened where held-out texts say so, and only there."""

import dataclasses

import numpy as np
import pytest
import torch

import alignkit
from alignkit.errors import ConfigError
from alignkit.estimator.arrays import as_pairs, split_pairs
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.heads.whitening import PLAIN, SETTINGS, Setting
from alignkit.metrics.self_retrieval import self_retrieval
from alignkit.pairs.demo import load_demo
from alignkit.training import whitening_choice
from alignkit.training.whitening_choice import choose_whitening, mildest
from alignkit.vectors import l2_normalize


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture(scope="module")
def demo_head(demo):
    return ridge(demo)


@pytest.fixture(scope="module")
def demo_choice(demo, demo_head):
    return choose_whitening(demo_head, demo)


def ridge(splits, ridge_lambda=None):
    head = LinearHead(splits.train.student_dim, splits.train.teacher_dim, ridge_lambda)
    head.solve(TensorBatches(tensor(splits.train.student), tensor(splits.train.teacher)))
    return head.eval().requires_grad_(False)


def tensor(vectors):
    return torch.from_numpy(np.array(vectors, dtype=np.float32))


def finds_itself(head, part, splits):
    own = tensor(splits.test.teacher)
    corpus = torch.cat([own, tensor(splits.train.teacher)])
    queries = head(tensor(splits.test.student))
    return self_retrieval(queries if part is None else part(queries), corpus, torch.arange(len(own))).figures()


def test_a_weak_student_finds_far_more_whitened(demo, demo_head, demo_choice):
    """On texts that neither the head nor the choice has seen."""
    head, chosen = demo_head, demo_choice
    before, after = (finds_itself(head, part, demo)["self_mrr"] for part in (None, chosen.part))
    assert chosen.about.power > 0
    assert after > before + 0.05
    assert f"power {chosen.about.power:g}" in chosen.about.reason
    assert len(chosen.about.tried) == len(SETTINGS)


def test_documents_that_find_themselves_do_not_tell_what_queries_need(demo, demo_head, demo_choice, monkeypatch):
    head, origin = demo_head, dataclasses.replace(demo.origin, documents_for_queries=True)
    documents = dataclasses.replace(demo, origin=origin)
    assert choose_whitening(head, documents).about.power > 0  # few find themselves: it is like with queries
    monkeypatch.setattr(whitening_choice, "TOLD_APART", 0.3)
    chosen = choose_whitening(head, documents)
    assert chosen.part is None and chosen.about.power == 0
    assert "documents stand in for queries" in chosen.about.reason and "data.queries=" in chosen.about.reason
    assert demo_choice.about.power > 0


@pytest.mark.parametrize("labelled", [True, False])
def test_a_teacher_like_a_chat_model_is_whitened_more(demo, labelled):
    """Its vectors lie in a cone, and a few directions make up nearly all that varies in it."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(384, 384)))[0] * np.logspace(0, -2.5, 384)

    def uneven(pairs):
        teacher = l2_normalize(tensor(pairs.teacher @ turn + 0.01)).numpy()
        return dataclasses.replace(pairs, teacher=teacher, labels=pairs.labels if labelled else None)

    splits = dataclasses.replace(
        demo, **{name: uneven(getattr(demo, name)) for name in ("train", "validation", "test")}
    )
    head = ridge(splits)
    chosen = choose_whitening(head, splits)
    assert chosen.about.power == 0.75
    assert [one["power"] for one in chosen.about.tried] == [0, 0, 0.75]
    by = "ndcg@10" if labelled else "self_log_probability"
    assert all(one[by] < chosen.about.tried[-1][by] for one in chosen.about.tried[:-1])
    assert finds_itself(head, chosen.part, splits)["self_mrr"] > finds_itself(head, None, splits)["self_mrr"] + 0.1


def test_a_head_that_is_the_teacher_itself_stays_plain(demo):
    identity = LinearHead(384, 384)
    with torch.no_grad():
        identity.projection.weight.copy_(torch.eye(384))
        identity.projection.bias.zero_()
    arrays = as_pairs(demo.train.teacher[:600], demo.train.teacher[:600])
    splits = split_pairs(arrays, together=None, validation=0.3, test=0.1, seed=0)
    chosen = choose_whitening(identity, splits)
    assert chosen.part is None and chosen.about.power == chosen.about.centre == 0
    assert "queries stay as the head gives them" in chosen.about.reason


def test_noise_is_not_whitened():
    """A head that knows nothing finds nothing either way."""
    generator = np.random.default_rng(0)
    pairs = as_pairs(generator.normal(size=(400, 6)), generator.normal(size=(400, 9)))
    splits = split_pairs(pairs, together=None, validation=0.3, test=0.1, seed=0)
    assert choose_whitening(ridge(splits), splits).part is None


def test_thousands_of_held_out_texts_are_asked_and_fewer_of_wide_vectors(monkeypatch):
    """The gain of a head that finds nearly every text shows only among many."""
    generator = np.random.default_rng(0)
    pairs = as_pairs(generator.normal(size=(4000, 6)), generator.normal(size=(4000, 9)))
    splits = split_pairs(pairs, together=None, validation=0.6, test=0.1, seed=0)
    about = choose_whitening(ridge(splits), splits).about
    assert about.queries == len(splits.validation) == 2400 and about.corpus == 3600
    monkeypatch.setattr(whitening_choice, "MOST_ELEMENTS", 300 * 9)
    about = choose_whitening(ridge(splits), splits).about
    assert about.queries == 100 and about.corpus == 300


def test_too_few_held_out_texts_leave_queries_plain(demo):
    pairs = as_pairs(demo.train.student[:100], demo.train.teacher[:100])
    splits = split_pairs(pairs, together=None, validation=0.1, test=0.1, seed=0)
    chosen = choose_whitening(ridge(splits), splits)
    assert chosen.part is None
    assert chosen.about.reason == "10 validation texts are too few to choose by; at least 20 are needed"


def test_those_who_go_by_overlap_have_the_shrinkage_undone(demo):
    chosen = choose_whitening(ridge(demo, ridge_lambda=1.0), demo, "overlap@10")
    told = {(one["power"], one["centre"]): one["overlap@10"] for one in chosen.about.tried}
    kept = told[chosen.about.power, chosen.about.centre]
    assert kept > told[0, 0] + 0.01


def test_of_settings_that_are_about_as_good_the_mildest_is_taken():
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(100, generator=generator)
    wobble = 0.1 * torch.randn(100, generator=generator)
    settings = (PLAIN, Setting(0.0, 0.5), Setting(0.5, 1.0), Setting(0.75, 1.0))
    gains = dict(zip(settings, (0.0, 0.1, 0.3, 0.301), strict=True))
    figures = {setting: base + gain + wobble * (index % 2) for index, (setting, gain) in enumerate(gains.items())}
    assert mildest(figures) is settings[2]
    assert mildest({setting: base for setting in SETTINGS}) is PLAIN


def test_an_unknown_figure_is_refused(demo, demo_head):
    with pytest.raises(ConfigError, match=r"whiten_by=cosine: expected self_mrr or overlap@10, or null"):
        choose_whitening(demo_head, demo, "cosine")


def test_the_front_door_whitens_and_says_so(demo):
    student, teacher = demo.train.student[:1000], demo.train.teacher[:1000]
    fitted = alignkit.fit(student, teacher, model="linear", progress=False, settings={"trainer.max_epochs": 0})
    plain = alignkit.fit(
        student, teacher, model="linear", progress=False, settings={"trainer.max_epochs": 0, "whiten_by": None}
    )
    assert "whitening" in fitted.artifact.parts and "whitening" not in plain.artifact.parts
    asked = demo.test.student[:20]
    np.testing.assert_allclose(fitted.transform(asked, role="document"), plain.transform(asked), atol=1e-6)
    expected = l2_normalize(fitted.artifact.query_head(tensor(asked)))
    np.testing.assert_allclose(fitted.transform(asked), expected.numpy(), atol=1e-6)
    assert np.abs(fitted.transform(asked) - plain.transform(asked)).max() > 0.01
