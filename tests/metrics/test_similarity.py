"""Likeness of spaces and signs of degeneration, against plain formulas and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from alignkit.metrics.similarity import (
    collapsed_dimensions,
    effective_rank,
    hubness_skew,
    linear_cka,
    random_cosine,
    share_of_constant_rows,
)


def vectors(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def plain_cka(one, two):
    one, two = (side.double() - side.double().mean(dim=0) for side in (one, two))
    return float((one.T @ two).norm() ** 2 / ((one.T @ one).norm() * (two.T @ two).norm()))


def unbiased_by_definition(one, two):
    """Song et al. 2012, eq. 5, term by term."""
    grams = []
    for side in (one, two):
        side = side.double() - side.double().mean(dim=0)
        grams.append((side @ side.T).numpy())
    n = len(one)

    def hsic(k, m):
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        return (
            np.trace(k @ m)
            + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (ones @ k @ m @ ones)
        ) / (n * (n - 3))

    return hsic(*grams) / np.sqrt(hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))


def test_cka_is_the_published_estimate():
    one = vectors(80, 12)
    two = one @ vectors(12, 20, 1) + vectors(80, 20, 2)
    assert linear_cka(one, two) == pytest.approx(unbiased_by_definition(one, two), abs=1e-9)


def test_cka_of_many_texts_is_the_plain_one():
    one = vectors(3000, 6)
    two = one @ vectors(6, 9, 1) + vectors(3000, 9, 2)
    assert linear_cka(one, two) == pytest.approx(plain_cka(one, two), abs=0.005)


def test_cka_of_unrelated_vectors_is_about_0_where_the_plain_one_is_far_above():
    one, two = vectors(200, 400), vectors(200, 400, 1)
    assert plain_cka(one, two) > 0.6
    assert abs(linear_cka(one, two)) < 0.05


def test_cka_does_not_see_rotation_scale_or_shift():
    one = vectors(50, 8)
    rotation = torch.linalg.qr(vectors(8, 8, 1)).Q
    assert linear_cka(one, 3 * one @ rotation + 7) == pytest.approx(1.0, abs=1e-5)


def test_cka_is_undefined_for_few_texts_and_constant_sides():
    assert linear_cka(vectors(3, 2), vectors(3, 2)) is None
    assert linear_cka(vectors(20, 2), torch.full((20, 5), 0.37)) is None


def test_effective_rank():
    assert effective_rank(vectors(5000, 10)) == pytest.approx(10, abs=0.05)
    assert effective_rank(vectors(500, 1) @ vectors(1, 10, 1)) == pytest.approx(1)
    assert effective_rank(torch.full((50, 10), 0.37)) == 0


def test_collapsed_dimensions():
    reference = vectors(300, 10)
    narrowed = reference.clone()
    narrowed[:, :3] *= 0.001
    assert collapsed_dimensions(narrowed, reference) == pytest.approx(0.3)
    assert collapsed_dimensions(reference, reference) == 0
    assert collapsed_dimensions(reference, torch.ones(5, 10)) == 0


def test_hubness_is_the_skewness_of_occurrences():
    found = np.random.default_rng(0).integers(0, 40, size=(100, 10))
    counts = np.bincount(found.ravel(), minlength=40)
    assert hubness_skew(found, 40) == pytest.approx(stats.skew(counts))
    assert hubness_skew(np.zeros((100, 1), dtype=np.int64), 500) > 20
    # counts 3, 0, 0: mean 1, third moment (8 - 1 - 1) / 3, variance 2
    assert hubness_skew(np.zeros((3, 1), dtype=np.int64), 3) == pytest.approx(2 / 2**1.5)
    assert hubness_skew(np.full((2, 1), -1), 3) == 0.0
    assert hubness_skew(np.full((3, 2), -1), 4) == 0


def test_constant_rows():
    assert share_of_constant_rows(vectors(50, 8)) == pytest.approx(0.02)
    assert share_of_constant_rows(torch.full((50, 8), 2.0)) == 1.0


def test_random_cosine_is_the_mean_over_all_pairs():
    rows = torch.tensor(np.random.default_rng(0).normal(size=(40, 6)) + 1.0)
    unit = rows / rows.norm(dim=1, keepdim=True)
    between = (unit @ unit.T)[~torch.eye(40, dtype=torch.bool)]
    assert random_cosine(unit) == pytest.approx(float(between.mean()), abs=1e-9)
    assert random_cosine(unit[:1]) == 0.0
    assert random_cosine(unit[:1].repeat(5, 1)) == pytest.approx(1.0)
