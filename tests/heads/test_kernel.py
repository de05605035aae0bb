"""Kernel ridge regression against scikit-learn's, and what it does with few pairs and with many."""

import functools

import numpy as np
import pytest
import torch
from needed import needed

from alignkit.heads import kernel as kernel_module
from alignkit.heads import kernel_space
from alignkit.heads.kernel import KernelHead
from alignkit.heads.kernel_space import LINEAR_WEIGHT, KernelSpace, spread_rows
from alignkit.heads.linear import LinearHead
from alignkit.heads.moments import Moments
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.heads.streaming import TensorBatches, unit_students
from alignkit.metrics.alignment import overlap_at_k
from alignkit.pairs.demo import load_demo
from alignkit.vectors import cosine, l2_normalize

kernel_ridge = needed("sklearn.kernel_ridge")


def make_pairs(count=300, student_dim=15, teacher_dim=22, seed=0):
    generator = torch.Generator().manual_seed(7)
    mixing = torch.randn(student_dim, teacher_dim, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(count, student_dim, generator=generator) + 0.3
    return student, l2_normalize(torch.sin(2 * l2_normalize(student) @ mixing))


def space_of(student, teacher, landmarks=1000):
    moments = Moments.of(unit_students([(student, teacher)])).centered()
    return KernelSpace.of(moments, student, landmarks)


def kernel_of(space, first, second):
    """What inner products of features stand for, by its definition in float64."""
    first, second = (((l2_normalize(part) - space.mean) @ space.stretch).double() for part in (first, second))
    near = torch.exp(-(torch.cdist(first, second) ** 2) / (2 * (space.bandwidth * space.distance) ** 2))
    return (LINEAR_WEIGHT * first @ second.T + near).numpy()


@pytest.fixture
def hardly_any_jitter(monkeypatch):
    monkeypatch.setattr(kernel_space, "JITTER", 1e-6)


@pytest.mark.usefixtures("hardly_any_jitter")
def test_features_of_landmarks_multiply_to_the_kernel():
    student, teacher = make_pairs(120)
    space = space_of(student, teacher)
    features = space(student).double().numpy()
    np.testing.assert_allclose(features @ features.T, kernel_of(space, student, student), rtol=0, atol=1e-3)
    other = make_pairs(20, seed=1)[0]
    products = space(other).double().numpy() @ features.T
    np.testing.assert_allclose(products, kernel_of(space, other, student), rtol=0, atol=1e-2)


def test_bandwidth_one_is_the_median_distance():
    student, teacher = make_pairs(100)
    space = space_of(student, teacher)
    stretched = ((l2_normalize(student) - space.mean) @ space.stretch).double()
    assert float(stretched.square().sum(1).mean()) == pytest.approx(1, rel=1e-3)
    assert float(torch.pdist(stretched).median()) == pytest.approx(space.distance, rel=1e-3)


@pytest.mark.usefixtures("hardly_any_jitter")
@pytest.mark.parametrize("ridge_lambda", [0.01, 0.3])
def test_with_few_pairs_it_is_exact_kernel_ridge_regression(ridge_lambda):
    student, teacher = make_pairs(200)
    asked = make_pairs(50, seed=1)[0]
    head = KernelHead(15, 22, bandwidth=1.0, ridge_lambda=ridge_lambda)
    head.solve(TensorBatches(student, teacher, 64))
    assert head.landmarks == 200 and head(asked).shape == (50, 22)
    space = space_of(student, teacher)
    among, towards = kernel_of(space, student, student), kernel_of(space, asked, student)
    # the bias is not penalised: the same as a kernel that is centred
    mean = among.mean(0)
    centred = among - mean - mean[:, None] + mean.mean()
    towards = towards - mean - towards.mean(1, keepdims=True) + mean.mean()
    exact = kernel_ridge.KernelRidge(alpha=ridge_lambda, kernel="precomputed").fit(
        centred, (teacher - teacher.mean(0)).numpy()
    )
    expected = exact.predict(towards) + teacher.mean(0).numpy()
    np.testing.assert_allclose(head(asked).detach(), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize(("count", "most"), [(10, 3), (3, 10), (7, 7), (1, 5), (4097, 2048)])
def test_landmarks_are_spread_over_the_sample(count, most):
    rows = spread_rows(count, most)
    assert len(rows) == len(set(rows.tolist())) == min(count, most)
    assert rows[0] == 0 and rows[-1] >= count - -(-count // most)


def test_there_are_as_many_landmarks_as_asked_for_where_the_pairs_suffice(monkeypatch):
    monkeypatch.setattr(kernel_module, "SAMPLE_PAIRS", 16)
    for count in (65, 127, 130):
        head = KernelHead(15, 22, landmarks=64, bandwidth=1.0, ridge_lambda=0.1)
        head.solve(TensorBatches(*make_pairs(count)))
        assert head.landmarks == head.arguments()["landmarks"] == 64


def test_of_bandwidths_that_noise_cannot_tell_apart_it_takes_the_widest():
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(500, 3, generator=generator)
    curved = torch.sin(8 * l2_normalize(student) @ torch.randn(3, 22, generator=generator))
    noise = torch.randn(curved.shape, generator=generator)
    chosen = []
    for teacher in (curved, noise):  # of noise there is nothing to learn, and no bandwidth is better than another
        train, held_out = TensorBatches(student[:400], teacher[:400]), TensorBatches(student[400:], teacher[400:])
        chosen.append(KernelHead(3, 22).solve(train, held_out)["bandwidth"])
    assert chosen[0] < chosen[1] == kernel_module.BANDWIDTHS[0]


def test_few_real_pairs_are_served_better_than_by_ridge_or_random_features():
    demo = load_demo()
    parts = [(np.array(part.student)[::4], np.array(part.teacher)[::4]) for part in (demo.train, demo.test)]
    (student, teacher), (asked, wanted) = [
        (torch.tensor(student).float(), l2_normalize(torch.tensor(teacher).float())) for student, teacher in parts
    ]
    found = {}
    # more features than pairs; the default's 4,096 would find the same and take seconds
    for make in (LinearHead, functools.partial(RandomFeaturesHead, features=1024), KernelHead):
        head = make(student.shape[1], teacher.shape[1])
        head.solve(TensorBatches(student, teacher))
        with torch.no_grad():
            aligned = head(asked)
        found[head.kind()] = [float(cosine(aligned, wanted).mean()), float(overlap_at_k(aligned, wanted).mean())]
        print(f"\n{head.kind()}: cosine {found[head.kind()][0]:.3f}, overlap@10 {found[head.kind()][1]:.3f}")
    for rival in ("linear", "random_features"):
        assert found["kernel"][0] > found[rival][0] + 0.005
        assert found["kernel"][1] > found[rival][1] + 0.005


def test_sentences_that_repeat_each_other_are_no_trouble():
    student, teacher = make_pairs(40)
    head = KernelHead(15, 22)
    head.solve(TensorBatches(student.repeat(5, 1), teacher.repeat(5, 1)))
    assert float(cosine(head(student).detach(), teacher).mean()) > 0.9
