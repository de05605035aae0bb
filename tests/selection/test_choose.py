import dataclasses
import functools
import json

import numpy as np
import pytest
import torch

from alignkit.errors import ConfigError
from alignkit.heads.kernel import KernelHead
from alignkit.heads.kernel_mlp import KernelMlpHead
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.orthogonal import OrthogonalHead
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.losses.cosine import CosineLoss
from alignkit.losses.info_nce import InfoNceLoss
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.selection import averages, choose, decision, judged_parts, targets
from alignkit.selection.choose import select_head
from alignkit.selection.record import Try
from alignkit.selection.targets import TARGETS
from alignkit.training.device import choose_device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe
from alignkit.vectors import cosine


def small_features(**widths):
    return RandomFeaturesHead(**widths, features=160)


def fitter(make_head, init="closed_form", **recipe):
    return Fitter(make_head, CosineLoss(), Recipe(**recipe), choose_device("cpu", "32-true"), init=init)


def curved(count, seed, curvature):
    generator = np.random.default_rng(99)
    mixing = generator.standard_normal((8, 16))
    generator = np.random.default_rng(seed)
    student = generator.standard_normal((count, 8))
    student /= np.linalg.norm(student, axis=1, keepdims=True)
    teacher = student @ mixing + curvature * np.cos(2 * student @ mixing)
    teacher += 0.05 * generator.standard_normal(teacher.shape)
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    labels = [str(int(first > 0)) for first in student[:, 0]]
    ids = [f"{seed}-{row}" for row in range(count)]
    return Pairs(ids, student.astype(np.float32), teacher.astype(np.float32), labels=labels)


def splits(curvature):
    return PairSplits(*(curved(count, seed, curvature) for seed, count in enumerate((1200, 300, 300))))


@pytest.fixture
def candidates():
    return {
        "random_features": fitter(small_features),
        "linear": fitter(LinearHead),
        "orthogonal": fitter(OrthogonalHead),
    }


def test_takes_the_dearer_head_where_it_is_surely_better(candidates):
    selection = select_head(candidates, splits(curvature=1.0), hold_out="random")
    assert selection.name == "random_features"
    assert [one.name for one in selection.tries][0] == "linear"
    chosen = selection.tries[-1]
    assert chosen.gain.low > 0 and "gains +0." in selection.reason
    assert selection.queries == 300


def test_few_validation_texts_are_helped_out_by_parts_of_the_training_pairs(candidates, monkeypatch):
    parts = PairSplits(*(curved(count, seed, curvature=1.0) for seed, count in enumerate((270, 30, 30))))
    seen, original = [], Fitter.fit
    monkeypatch.setattr(Fitter, "fit", lambda self, data, **how: seen.append(data) or original(self, data, **how))
    selection = select_head(candidates, parts)
    assert selection.name == "random_features" and selection.queries == 300
    assert len(seen) == 3 * (1 + judged_parts.FOLDS)
    left_out = [set(parts.train.ids) - set(data.train.ids) for data in seen[1 : 1 + judged_parts.FOLDS]]
    assert sorted(one for part in left_out for one in part) == sorted(parts.train.ids)  # each is judged once
    monkeypatch.setattr(judged_parts, "FOLDS", 1000)
    alone = select_head(candidates, parts)
    assert alone.queries == 30
    gains = [next(one.gain for one in found.tries if one.name == "random_features") for found in (selection, alone)]
    assert gains[0].high - gains[0].low < 0.5 * (gains[1].high - gains[1].low)


@pytest.mark.parametrize(
    ("nearer", "overlap", "chosen"), [(0.02, 0.0, "kernel"), (0.0, 0.0, "linear"), (0.02, -0.03, "linear")]
)
def test_where_the_target_cannot_tell_the_cosine_does(nearer, overlap, chosen):
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(300)
    noise -= noise.mean()
    overlaps = {"linear": np.full(300, 0.5), "kernel": 0.5 + overlap + 0.1 * noise}
    cosines = {"linear": np.full(300, 0.6), "kernel": 0.6 + nearer + 0.01 * noise}
    tries = [Try(name, 1.0, 10, 20, seconds=1.0) for name in overlaps]
    selection = decision.decide(tries, overlaps, cosines, "overlap@10", 60.0, 0)
    assert selection.name == chosen
    assert ("for its cosine with the teacher, +0.020" in selection.reason) == (chosen == "kernel")


def test_a_target_is_measured_once(candidates, monkeypatch):
    measured, original = [], choose.figures_of
    monkeypatch.setattr(choose, "figures_of", lambda *given: measured.append(given[2]) or original(*given))
    select_head(candidates, splits(curvature=0.3), target="cosine", hold_out="random")
    assert measured == ["cosine"] * len(candidates)


def test_ties_go_to_ridge_and_it_says_so(candidates):
    del candidates["random_features"]
    selection = select_head(candidates, splits(curvature=0.0), target="cosine")
    assert selection.name == "linear"
    assert "beyond noise" in selection.reason


def test_a_budget_for_ridge_alone(candidates, monkeypatch):
    monkeypatch.setattr(choose, "_flops_per_s", lambda device: 1e4)  # a very slow machine
    selection = select_head(candidates, splits(curvature=1.0), budget_s=1)
    assert selection.name == "linear"
    assert "ridge regression alone" in selection.reason
    assert [one.seconds is None for one in selection.tries] == [False, True, True]


def test_where_the_clock_passed_a_head_over_it_says_so(candidates, monkeypatch):
    everything = select_head(candidates, splits(curvature=1.0))
    assert "clock" not in everything.reason and everything.name == "random_features"
    plans = choose._plans

    def slow(*given):
        return [dataclasses.replace(one, expected_s=9000.0 * (one.name == "orthogonal")) for one in plans(*given)]

    monkeypatch.setattr(choose, "_plans", slow)
    selection = select_head(candidates, splits(curvature=1.0))
    assert selection.name == "random_features" and "gains +0." in selection.reason
    assert "not tried for lack of time: orthogonal (about 9000 s). The clock had a part" in selection.reason
    assert "another run with this seed may choose another head" in selection.reason


def test_the_same_seed_chooses_the_same(candidates):
    first, second = (select_head(candidates, splits(curvature=0.3), seed=3) for _ in range(2))
    assert first.name == second.name
    assert [one.quality for one in first.tries] == [one.quality for one in second.tries]


def test_recall_needs_labels(candidates):
    parts = splits(curvature=1.0)
    assert select_head(candidates, parts, target="recall@10").target == "recall@10"
    bare = dataclasses.replace(parts, validation=dataclasses.replace(parts.validation, labels=None))
    with pytest.raises(ConfigError, match="needs sentences with labels"):
        select_head(candidates, bare, target="recall@10")


def test_the_choices_split_is_seen_by_no_fit(candidates, monkeypatch):
    parts, seen = splits(curvature=1.0), []
    original = Fitter.fit
    monkeypatch.setattr(Fitter, "fit", lambda self, data, **how: seen.append(data) or original(self, data, **how))
    select_head(candidates, parts)
    assert len(seen) == 3
    for data in seen:
        assert not {*data.train.ids, *data.validation.ids} & {*parts.validation.ids, *parts.test.ids}
        assert not set(data.train.ids) & set(data.validation.ids)
        # a tenth to a fifth is held out of it in whole clusters
        assert 0.75 < len({*data.train.ids, *data.validation.ids} & set(parts.train.ids)) / len(parts.train) <= 0.9


def test_a_head_without_closed_form_is_trained():
    recipe = {"max_epochs": 8, "batch_size": 64}
    candidates = {
        "linear": fitter(LinearHead, max_epochs=50),
        "mlp": fitter(lambda **widths: MlpHead(**widths, hidden=64), init="random", **recipe),
    }
    selection = select_head(candidates, splits(curvature=1.0), target="cosine")
    mlp = next(one for one in selection.tries if one.name == "mlp")
    torch.manual_seed(0)
    assert mlp.quality.value > 0.5


def test_a_head_whose_closed_form_is_only_a_start_is_trained_from_it():
    recipe = {"max_epochs": 8, "batch_size": 64, "lr": 2e-2}
    mlp = fitter(functools.partial(MlpHead, hidden=64), **recipe)
    assert not mlp.is_solved and fitter(LinearHead).is_solved
    selection = select_head({"linear": fitter(LinearHead), "mlp": mlp}, splits(curvature=1.0), target="cosine")
    assert selection.name == "mlp" and selection.tries[-1].gain.low > 0


def test_settings_that_cannot_work_are_found_before_the_search(candidates, monkeypatch):
    def never(*given, **settings):
        raise AssertionError("searched")

    monkeypatch.setattr(Fitter, "fit", never)
    needs_negatives = InfoNceLoss(in_batch=False)
    candidates["orthogonal"] = dataclasses.replace(candidates["orthogonal"], loss=needs_negatives)
    with pytest.raises(ConfigError, match="needs hard negatives"):
        select_head(candidates, splits(curvature=0.0))


def test_a_loss_on_hard_negatives_finds_them_in_the_part_that_is_tried_on():
    parts = splits(curvature=1.0)
    count = len(parts.train)
    negatives = np.stack([(np.arange(count) + 1) % count, np.full(count, -1)], axis=1)
    parts = dataclasses.replace(parts, train=dataclasses.replace(parts.train, negatives=negatives))
    seen = []

    class Watched(InfoNceLoss):
        def forward(self, aligned, teacher, negatives=None):
            seen.append((aligned.requires_grad, teacher, negatives))
            return super().forward(aligned, teacher, negatives)

    mlp = fitter(lambda **widths: MlpHead(**widths, hidden=8), init="random", max_epochs=1, batch_size=64)
    candidates = {"linear": fitter(LinearHead), "mlp": dataclasses.replace(mlp, loss=Watched(in_batch=False))}
    select_head(candidates, parts)

    def row_of(vector):
        return int(np.abs(parts.train.teacher - vector.numpy()).sum(axis=1).argmin())

    trained = [(teacher, negatives) for training, teacher, negatives in seen if training]
    checked = 0
    for teacher, against in trained:
        for one, other in zip(teacher, against[:, 0], strict=True):
            if other.any():  # some stayed in the held-out tenth
                assert row_of(other) == (row_of(one) + 1) % count
                checked += 1
        if checked > 100:
            break
    assert checked > 100


def test_the_held_out_pairs_are_no_copies():
    parts = splits(curvature=1.0)
    inner = judged_parts.held_out(parts, seed=0, clusters=True)[0]
    for part in (inner.train, inner.validation):
        assert part.student.array is parts.train.student and part.teacher.array is parts.train.teacher


def test_many_validation_sentences_are_judged_by_a_sample(candidates, monkeypatch):
    monkeypatch.setattr(targets, "most_sentences", lambda teacher_dim: 100)
    ridge = {"linear": candidates["linear"]}
    for target in ("overlap@10", "cosine", "recall@10"):
        assert select_head(ridge, splits(curvature=1.0), target=target).queries == 200


def test_tries_stay_in_this_process_whatever_the_trainer_is_told(candidates, monkeypatch):
    seen, original = [], Fitter.fit
    monkeypatch.setattr(
        Fitter, "fit", lambda self, data, **how: seen.append(self.trainer_settings) or original(self, data, **how)
    )
    settings = {"devices": 2, "strategy": "ddp", "num_nodes": 1, "log_every_n_steps": 5}
    candidates = {name: dataclasses.replace(one, trainer_settings=settings) for name, one in candidates.items()}
    select_head(candidates, splits(curvature=0.0))
    assert seen == [{"log_every_n_steps": 5}] * 3


def test_where_nothing_can_be_judged_it_says_so(candidates):
    parts = splits(curvature=1.0)
    alone = [str(row) for row in range(300)]  # no other sentence to recall
    parts = dataclasses.replace(parts, validation=dataclasses.replace(parts.validation, labels=alone))
    selection = select_head(candidates, parts, target="recall@10", hold_out="random")
    assert (selection.name, selection.queries) == ("linear", 0)
    assert "no head could be judged: recall@10 is undefined" in selection.reason
    assert "beyond noise" not in selection.reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"budget_s": 0}, "budget_s=0"), ({"budget_s": -1}, "budget_s=-1"), ({"target": "mrr"}, "target=mrr")],
)
def test_refuses_odd_settings(candidates, arguments, message):
    with pytest.raises(ConfigError, match=message):
        select_head(candidates, splits(curvature=0.0), **arguments)


def test_refuses_to_choose_without_ridge(candidates):
    del candidates["linear"]
    with pytest.raises(ConfigError, match="'linear' among them"):
        select_head(candidates, splits(curvature=0.0))


def test_the_record_is_plain_json(candidates):
    record = json.loads(json.dumps(select_head(candidates, splits(curvature=1.0), hold_out="random").to_json()))
    assert record["name"] == "random_features" and record["queries"] == 300
    gains = {one["name"]: one["gain"] for one in record["tries"]}
    assert gains["linear"] is None and gains["random_features"]["low"] > 0 and len(gains) == 3


def test_recall_of_pairs_without_labels_is_refused_in_words(splits):
    aligned = torch.zeros(len(splits.validation), 20)
    with pytest.raises(ConfigError, match="needs sentences with labels and these have none"):
        TARGETS["recall@10"](aligned, aligned, splits.validation)


def averaging(**mlp):
    """Kernel, perceptron and their average, small."""
    recipe = {"max_epochs": 4, "batch_size": 64, "lr": 2e-2}
    return {
        "linear": fitter(LinearHead),
        "kernel": fitter(functools.partial(KernelHead, landmarks=64)),
        "mlp": fitter(functools.partial(MlpHead, hidden=32), **(recipe | mlp)),
        "kernel_mlp": fitter(functools.partial(KernelMlpHead, landmarks=64, hidden=32), **recipe),
    }


def test_an_average_of_tried_heads_is_not_fitted_and_is_judged_as_if_it_had_been(monkeypatch):
    parts, seen, original = splits(curvature=1.0), [], Fitter.fit
    monkeypatch.setattr(Fitter, "fit", lambda self, data, **how: seen.append(self) or original(self, data, **how))
    together = select_head(averaging(), parts, target="cosine")
    assert [one.make_head for one in seen] == [one.make_head for one in seen[:3]]
    alone = averaging()
    del alone["mlp"]
    apart = select_head(alone, parts, target="cosine")
    assert len(seen) == 6
    found, expected = ({one.name: one for one in done.tries}["kernel_mlp"] for done in (together, apart))
    assert found.alike == pytest.approx(expected.alike, abs=0.003)
    assert found.flops_per_query == expected.flops_per_query
    tried = {one.name: one.alike for one in together.tries}
    assert tried["kernel_mlp"] > max(tried["kernel"], tried["mlp"])


def test_an_average_is_left_out_with_its_member(monkeypatch):
    plans = choose._plans

    def slow(*given):
        return [dataclasses.replace(one, expected_s=9000.0 * (one.name == "mlp")) for one in plans(*given)]

    monkeypatch.setattr(choose, "_plans", slow)
    selection = select_head(averaging(), splits(curvature=1.0))
    assert {one.name for one in selection.tries if one.seconds is None} == {"mlp", "kernel_mlp"}
    assert "not tried for lack of time: mlp (about 9000 s), kernel_mlp (about 9000 s)" in selection.reason


def test_an_average_whose_members_are_trained_otherwise_is_fitted(monkeypatch):
    parts, seen, original = splits(curvature=1.0), [], Fitter.fit
    monkeypatch.setattr(Fitter, "fit", lambda self, data, **how: seen.append(self) or original(self, data, **how))
    select_head(averaging(max_epochs=1), parts, target="cosine")
    assert len(seen) == 4


def test_members_that_were_tried_are_left_as_they_are():
    parts, candidates = splits(curvature=1.0), averaging()
    assert averages.members_of(candidates, parts) == {"kernel_mlp": ("kernel", "mlp")}
    members = [candidates[name].fit(parts, refit=False).head for name in ("kernel", "mlp")]
    student = torch.tensor(np.array(parts.test.student))
    before = [head(student) for head in members]
    both = averages.put_together(candidates["kernel_mlp"], members, parts)
    for head, given in zip(members, before, strict=True):
        torch.testing.assert_close(head(student), given, rtol=0, atol=0)
    direction = sum(given / given.norm(dim=1).mean() for given in before)
    assert float(cosine(both(student), direction).min()) > 0.999


def test_of_many_pairs_heads_are_tried_on_a_sample_and_it_says_so(candidates, monkeypatch):
    parts, seen, original = splits(curvature=1.0), [], Fitter.fit
    monkeypatch.setattr(Fitter, "fit", lambda self, data, **how: seen.append(data) or original(self, data, **how))
    whole = select_head(candidates, parts)
    assert "training pairs" not in whole.reason
    for module in (choose, judged_parts):
        monkeypatch.setattr(module, "MOST_PAIRS", 500)
    sampled = select_head(candidates, parts)
    assert {len(data.train) + len(data.validation) for data in seen[3:]} == {500}
    assert sampled.name == whole.name
    assert "heads were tried on 500 of 1,200 training pairs" in sampled.reason
