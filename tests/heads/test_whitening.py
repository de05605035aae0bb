"""The family of query maps, against its formula in NumPy."""

import numpy as np
import pytest
import torch

from alignkit.heads import whitening
from alignkit.heads.whitening import FLOOR, PLAIN, SETTINGS, Setting, Spread, Whitenings


def vectors(count, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(1.0, 0.1, width)
    return torch.nn.functional.normalize(torch.randn(count, width, generator=generator) * spread + 0.3, dim=-1)


def sample(width=8, count=60):
    own = vectors(count, width, 1)
    return 0.7 * own + 0.1 * vectors(count, width, 2), own, vectors(200, width, 3)


def family(aligned, own, teacher):
    return Whitenings(aligned, own, Spread.of(teacher))


@pytest.mark.parametrize("setting", SETTINGS)
def test_is_the_stated_formula(setting):
    aligned, own, teacher = (part.double().numpy() for part in sample())
    gain = (aligned * own).sum() / (aligned**2).sum()
    parts = [np.cov(part, rowvar=False) for part in (own - gain * aligned, teacher)]
    mixed = sum(part / np.trace(part) for part in parts) / 2
    values, directions = np.linalg.eigh(mixed)
    power = (
        directions * (values + (FLOOR + len(values) / len(teacher)) * values.mean()) ** -setting.power
    ) @ directions.T
    expected = (gain * aligned - setting.centre * teacher.mean(axis=0)) @ power
    weight, bias = family(*sample()).map(setting)
    got = torch.from_numpy(aligned) @ weight.T + bias
    cosines = torch.nn.functional.cosine_similarity(got, torch.from_numpy(expected))
    np.testing.assert_allclose(cosines, 1, atol=1e-12)


def test_plain_leaves_queries_as_they_are():
    weight, bias = family(*sample()).map(PLAIN)
    assert torch.equal(weight, torch.eye(8).double()) and not bias.any()


def test_the_length_of_the_heads_outputs_does_not_matter():
    aligned, own, teacher = sample()
    for setting in SETTINGS[1:]:
        weight, bias = family(aligned, own, teacher).map(setting)
        longer, far = family(9 * aligned, own, teacher).map(setting)
        cosine = torch.nn.functional.cosine_similarity(
            aligned.double() @ weight.T + bias, 9 * aligned.double() @ longer.T + far
        )
        assert cosine.min() > 1 - 1e-9


def test_wide_teachers_are_known_by_their_leading_directions(monkeypatch):
    """Where few directions vary and the rest is alike, leaving the rest together loses nothing."""
    width, leading = 40, 12
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    spread = torch.cat([torch.linspace(3, 1, leading), torch.full((width - leading,), 0.05)])
    draw = [torch.randn(4000, width, generator=generator) * spread @ rotation.T for _ in range(2)]
    aligned, own, teacher = torch.zeros(4000, width), draw[0], draw[1]
    whole = family(aligned, own, teacher).map(Setting(0.5, 1.0))[0]
    monkeypatch.setattr(whitening, "WIDEST", 20)
    monkeypatch.setattr(whitening, "LEADING", leading)
    narrow = family(aligned, own, teacher).map(Setting(0.5, 1.0))[0]
    assert torch.linalg.norm(whole - narrow) < 0.02 * torch.linalg.norm(whole)


def test_texts_that_are_all_the_same_give_finite_numbers():
    same = torch.ones(5, 4) / 2
    for setting in SETTINGS:
        weight, bias = family(same, same, same).map(setting)
        assert weight.isfinite().all() and bias.isfinite().all()
    weight, _ = family(torch.zeros(5, 4), same, same).map(Setting(1.0, 1.0))
    assert weight.isfinite().all()


def test_evenness_is_the_participation_ratio_of_the_spread():
    own = vectors(400, 30)
    aligned = 0.7 * own + 0.1 * vectors(400, 30, 2)
    found = family(aligned, own, own)
    parts = [np.cov(part.double().numpy(), rowvar=False) for part in (own - found.gain * aligned, own)]
    values = np.linalg.eigvalsh(sum(part / np.trace(part) for part in parts) / 2) + FLOOR / 30 + 1 / 400
    assert found.evenness() == pytest.approx(values.sum() ** 2 / (values**2).sum() / 30)
    noise = torch.eye(30).repeat(10, 1)
    assert family(torch.zeros(300, 30), noise, noise).evenness() == pytest.approx(1, abs=0.03)


def test_the_strongest_power_is_for_teachers_whose_spread_is_uneven():
    own = vectors(4000, 40)
    assert family(0.7 * own, own, own).settings() == SETTINGS
    uneven = torch.nn.functional.normalize(own * torch.logspace(0, -3, 40), dim=-1)
    assert [setting.power for setting in family(0.7 * uneven, uneven, uneven).settings()] == [0, 0, 0.75]
    # so few vectors tell little of the small directions: the floor is most of what there is
    few = uneven[:20]
    assert family(0.7 * few, few, few).settings() == SETTINGS


def test_evenness_of_wide_teachers_is_about_the_same(monkeypatch):
    own = torch.nn.functional.normalize(vectors(500, 100) * torch.logspace(0, -1.5, 100), dim=-1)
    exact = family(0.7 * own, own, own).evenness()
    monkeypatch.setattr(whitening, "WIDEST", 50)
    monkeypatch.setattr(whitening, "LEADING", 40)
    assert family(0.7 * own, own, own).evenness() == pytest.approx(exact, rel=0.05)
