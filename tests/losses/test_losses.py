"""Losses against their formulas written out, and against other libraries."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import nn

from alignkit.errors import ConfigError
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.losses.cosine import CosineLoss
from alignkit.losses.info_nce import InfoNceLoss
from alignkit.losses.matryoshka import MatryoshkaLoss
from alignkit.losses.mix import MixLoss
from alignkit.losses.mse import MseLoss
from alignkit.losses.rank_kl import RankKlLoss
from alignkit.losses.relational import RelationalLoss
from alignkit.vectors import l2_normalize


def make_batch(count=6, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    aligned, teacher = torch.randn(2, count, dim, generator=generator)
    return 2 * aligned, l2_normalize(teacher)


def unit(vectors):
    vectors = vectors.double().numpy()
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_cosine_is_torchs():
    aligned, teacher = make_batch()
    expected = nn.CosineEmbeddingLoss()(aligned, teacher, torch.ones(6))
    assert CosineLoss()(aligned, teacher) == pytest.approx(float(expected), abs=1e-6)


def test_mse_is_of_the_unnormalised_output():
    aligned, teacher = make_batch()
    expected = ((aligned.double().numpy() - unit(teacher)) ** 2).sum(axis=1).mean()
    assert MseLoss()(aligned, 5 * teacher) == pytest.approx(expected, rel=1e-5)
    assert MseLoss()(3 * teacher, teacher) == pytest.approx(4.0, rel=1e-5)


def test_cos_mse_by_hand():
    aligned, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    # cosine distance 1; squared error (4 + 1) / 2 dimensions
    assert CosMseLoss(mse_weight=0.1)(aligned, teacher) == pytest.approx(1.25)
    assert CosMseLoss(mse_weight=0)(aligned, teacher) == pytest.approx(1.0)


def test_info_nce_by_hand():
    aligned, teacher = make_batch()
    scores = unit(aligned) @ unit(teacher).T / 0.1
    expected = (scipy.special.logsumexp(scores, axis=1) - scores.diagonal()).mean()
    assert InfoNceLoss(temperature=0.1)(aligned, teacher) == pytest.approx(expected, rel=1e-5)


def test_info_nce_counts_hard_negatives_and_not_their_padding():
    aligned, teacher = make_batch()
    negatives = torch.randn(6, 3, 8, generator=torch.Generator().manual_seed(1))
    scores = np.hstack([unit(aligned) @ unit(teacher).T, np.einsum("bd,bkd->bk", unit(aligned), unit(negatives))]) / 0.1
    expected = (scipy.special.logsumexp(scores, axis=1) - scores.diagonal()).mean()
    loss = InfoNceLoss(temperature=0.1)
    assert loss(aligned, teacher, negatives) == pytest.approx(expected, rel=1e-5)
    padded = torch.cat([negatives, torch.zeros(6, 2, 8)], dim=1)
    assert loss(aligned, teacher, padded) == pytest.approx(expected, rel=1e-5)


def test_info_nce_with_hard_negatives_alone():
    aligned, teacher = make_batch()
    negatives = torch.randn(6, 3, 8, generator=torch.Generator().manual_seed(1))
    own = (unit(aligned) * unit(teacher)).sum(1, keepdims=True)
    scores = np.hstack([own, np.einsum("bd,bkd->bk", unit(aligned), unit(negatives))]) / 0.1
    expected = (scipy.special.logsumexp(scores, axis=1) - scores[:, 0]).mean()
    loss = InfoNceLoss(temperature=0.1, in_batch=False)
    assert loss.needs_negatives and loss.uses_negatives
    assert loss(aligned, teacher, negatives) == pytest.approx(expected, rel=1e-5)


def test_info_nce_does_not_push_away_the_same_teacher_vector():
    aligned, teacher = make_batch()
    teacher[1] = teacher[0]
    scores = unit(aligned) @ unit(teacher).T / 0.05
    scores[0, 1] = scores[1, 0] = -np.inf
    expected = (scipy.special.logsumexp(scores, axis=1) - scores.diagonal()).mean()
    assert InfoNceLoss()(aligned, teacher) == pytest.approx(expected, rel=1e-5)


def test_info_nce_remembers_recent_teacher_vectors_while_training():
    loss = InfoNceLoss(temperature=0.1, bank_size=8)
    first, second, third = (make_batch(seed=seed) for seed in range(3))
    loss(*first)
    loss(*second)
    remembered = np.vstack([unit(second[1]), unit(first[1])])[:8]
    np.testing.assert_allclose(loss.bank, remembered, atol=1e-6)
    scores = unit(third[0]) @ np.vstack([unit(third[1]), remembered]).T / 0.1
    expected = (scipy.special.logsumexp(scores, axis=1) - scores.diagonal()).mean()
    state = loss.state_dict()
    assert loss(*third) == pytest.approx(expected, rel=1e-5)
    again = InfoNceLoss(temperature=0.1, bank_size=8)
    again.load_state_dict(state)  # as a resumed run does
    assert again(*third) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("in_batch", [True, False])
def test_info_nce_measures_every_state_alike_in_evaluation(in_batch):
    loss = InfoNceLoss(temperature=0.1, bank_size=8, in_batch=in_batch)
    first, second = (make_batch(seed=seed) for seed in range(2))
    before = loss.eval()(*second)
    loss.train()(*first)
    assert loss.eval()(*second) == before > 0
    assert before == InfoNceLoss(temperature=0.1)(*second)
    np.testing.assert_allclose(loss.bank, unit(first[1]), atol=1e-6)  # validation leaves it alone


def test_info_nce_without_anything_to_tell_from_is_refused():
    loss, (aligned, teacher) = InfoNceLoss(in_batch=False), make_batch()
    with pytest.raises(ConfigError, match="in_batch=false leaves no others"):
        loss(aligned, teacher)
    # a validation split without hard negatives must still tell good heads from bad ones
    padding = torch.zeros(6, 2, 8)
    for nothing in (None, padding):
        assert loss.eval()(aligned, teacher, nothing) == InfoNceLoss()(aligned, teacher)
    assert loss(teacher, teacher) < loss(aligned, teacher)


def test_info_nce_does_not_push_away_a_hard_negative_that_is_the_sentence_itself():
    aligned, teacher = make_batch()
    other = torch.randn(6, 1, 8, generator=torch.Generator().manual_seed(1))
    loss = InfoNceLoss(in_batch=False)
    with_itself = loss(aligned, teacher, torch.cat([3 * teacher.unsqueeze(1), other], dim=1))
    assert with_itself == pytest.approx(float(loss(aligned, teacher, other)), rel=1e-6)


def test_rank_kl_is_scipys_divergence_without_the_sentence_itself():
    aligned, teacher = make_batch()
    found, wanted = unit(aligned) @ unit(teacher).T / 0.1, unit(teacher) @ unit(teacher).T / 0.1
    others = ~np.eye(6, dtype=bool)
    divergences = [
        scipy.stats.entropy(
            scipy.special.softmax(wanted[row, others[row]]), scipy.special.softmax(found[row, others[row]])
        )
        for row in range(6)
    ]
    assert RankKlLoss(0.1, cosine_weight=0)(aligned, teacher) == pytest.approx(np.mean(divergences), rel=1e-4)
    both = np.mean(divergences) + 0.5 * (1 - (unit(aligned) * unit(teacher)).sum(1)).mean()
    assert RankKlLoss(0.1, cosine_weight=0.5)(aligned, teacher) == pytest.approx(both, rel=1e-4)


def test_rank_kl_of_a_single_pair_is_its_cosine_distance():
    aligned, teacher = make_batch(1)
    expected = float(CosineLoss()(aligned, teacher))
    assert RankKlLoss(cosine_weight=1)(aligned, teacher) == pytest.approx(expected, rel=1e-5)


def test_relational_by_its_definition_and_blind_to_rotation():
    aligned, teacher = make_batch()
    expected = ((unit(aligned) @ unit(aligned).T - unit(teacher) @ unit(teacher).T) ** 2).mean()
    assert RelationalLoss()(aligned, teacher) == pytest.approx(expected, rel=1e-5)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0]
    assert RelationalLoss()(teacher @ rotation, teacher) == pytest.approx(0, abs=1e-10)


def test_matryoshka_is_the_mean_over_prefixes():
    aligned, teacher = make_batch()
    loss = CosineLoss()
    expected = np.mean([float(loss(aligned[:, :width], teacher[:, :width])) for width in (8, 4, 3)])
    assert MatryoshkaLoss(loss, [1.0, 0.5, 3])(aligned, teacher) == pytest.approx(expected, rel=1e-5)


def test_matryoshka_cuts_negatives_too_and_keeps_a_bank_for_each_prefix():
    aligned, teacher = make_batch()
    negatives = torch.randn(6, 2, 8, generator=torch.Generator().manual_seed(1))
    loss = MatryoshkaLoss(InfoNceLoss(bank_size=4), [1.0, 0.5])
    assert loss.uses_negatives and not loss.needs_negatives
    for _ in range(2):
        assert loss(aligned, teacher, negatives).isfinite()
    assert [part.bank.shape for part in loss.losses] == [(4, 8), (4, 4)]


@pytest.mark.parametrize(
    ("prefixes", "widths"),
    [
        ([1, 0.5], [100, 50]),
        ([1, 0.5, 0.25], [100, 50, 25]),
        ([1.0, 0.5], [100, 50]),
        ([1.0], [100]),
        ([100, 50], [100, 50]),
        ([2], [2]),
        ([64, 0.5, 1.0], [64, 50, 100]),
        (0.5, [50]),
    ],
)
def test_matryoshka_reads_fractions_as_shares_and_whole_numbers_as_widths(prefixes, widths):
    seen = []

    class Watched(CosineLoss):
        def forward(self, aligned, teacher, negatives=None):
            seen.append(aligned.shape[1])
            return super().forward(aligned, teacher, negatives)

    MatryoshkaLoss(Watched(), prefixes)(*make_batch(dim=100))
    assert seen == widths


@pytest.mark.parametrize(
    "prefixes",
    [[], [0], [-1], [1.5], [2.0], [1], [1, 50], [1, 50, 0.5], [True, 0.5], ["half"], "half", [math.nan], [0.0], [None]],
)
def test_matryoshka_refuses_odd_prefixes(prefixes):
    with pytest.raises(ConfigError, match="prefixes"):
        MatryoshkaLoss(CosineLoss(), prefixes)


def test_matryoshka_refuses_more_dimensions_than_there_are():
    with pytest.raises(ConfigError, match="only 8 dimensions"):
        MatryoshkaLoss(CosineLoss(), [9])(*make_batch())


def test_matryoshka_refuses_a_share_that_leaves_no_direction():
    with pytest.raises(ConfigError, match=r"0.1 of 8 dimensions is 1; expected at least 2"):
        MatryoshkaLoss(CosineLoss(), [1.0, 0.1])(*make_batch())


def test_mix_is_the_weighted_sum():
    aligned, teacher = make_batch()
    parts = {"cosine": CosineLoss(), "mse": MseLoss(), "relational": RelationalLoss()}
    expected = 2 * parts["cosine"](aligned, teacher) + 0.5 * parts["mse"](aligned, teacher)
    loss = MixLoss(parts, {"cosine": 2, "mse": 0.5, "relational": 0})
    assert loss(aligned, teacher) == pytest.approx(float(expected), rel=1e-6)
    assert list(loss.losses) == ["cosine", "mse"]


def test_mix_needs_what_its_parts_need():
    needy = InfoNceLoss(in_batch=False)
    assert MixLoss({"a": CosineLoss(), "b": needy}, {"a": 1, "b": 1}).needs_negatives
    assert not MixLoss({"a": CosineLoss(), "b": needy}, {"a": 1, "b": 0}).needs_negatives
    assert not MixLoss({"a": CosineLoss()}, {"a": 1}).uses_negatives


@pytest.mark.parametrize(
    "weights", [{"a": 1}, {"a": 0, "b": 0}, {"a": -1, "b": 2}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": "x"}]
)
def test_mix_refuses_odd_weights(weights):
    with pytest.raises(ConfigError, match="mix: |weights"):
        MixLoss({"a": CosineLoss(), "b": MseLoss()}, weights)


@pytest.mark.parametrize(
    ("make", "argument", "value"),
    [
        *itertools.product([InfoNceLoss, RankKlLoss], ["temperature"], [0, -1, math.inf]),
        (InfoNceLoss, "bank_size", -1),
        (InfoNceLoss, "bank_size", 1.5),
        (InfoNceLoss, "bank_size", "ten"),
        (InfoNceLoss, "in_batch", "no"),
        (InfoNceLoss, "temperature", "warm"),
        (RankKlLoss, "temperature", True),
        (RankKlLoss, "cosine_weight", math.nan),
        (CosMseLoss, "mse_weight", math.inf),
        (CosMseLoss, "mse_weight", "little"),
        (RankKlLoss, "cosine_weight", -1),
        (CosMseLoss, "mse_weight", -1),
    ],
)
def test_refuses_numbers_out_of_range(make, argument, value):
    with pytest.raises(ConfigError, match=f"{argument}={value}"):
        make(**{argument: value})
