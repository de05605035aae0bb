"""Closed forms against scikit-learn and scipy, and against what they claim to be the best of."""

from functools import partial

import numpy as np
import pytest
import scipy.linalg
import torch
from needed import needed

from alignkit.errors import ConfigError
from alignkit.heads import ridge as ridge_module
from alignkit.heads.climb import climb
from alignkit.heads.feature_space import FeatureSpace, orthogonal_directions
from alignkit.heads.held_out import CORPUS, QUERIES, HeldOut
from alignkit.heads.linear import LinearHead
from alignkit.heads.local_mixture import LocalMixtureHead, nearest_means
from alignkit.heads.low_rank import LowRankHead, solve_reduced_rank
from alignkit.heads.moments import Moments
from alignkit.heads.orthogonal import OrthogonalHead, solve_procrustes
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.heads.ridge import LAMBDAS, best_lambda, cross_validated_lambda, mean_eigenvalue, solve_ridge
from alignkit.heads.streaming import TensorBatches, unit_students
from alignkit.metrics.alignment import overlap_at_k
from alignkit.vectors import cosine, l2_normalize

linear_model = needed("sklearn.linear_model")


def make_pairs(count=400, student_dim=15, teacher_dim=22, seed=0, noise=0.3):
    generator = torch.Generator().manual_seed(7)
    mixing = torch.randn(student_dim, teacher_dim, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(count, student_dim, generator=generator) * torch.linspace(0.1, 2, student_dim) + 1
    return student, student @ mixing + noise * torch.randn(count, teacher_dim, generator=generator) - 2


def moments_of(student, teacher):
    return Moments.of(TensorBatches(student, teacher, 64)).centered()


def qualities_of(moments, judge, ridge_lambda):
    weight, bias = solve_ridge(moments, ridge_lambda)
    return judge.quality((judge.student.double() @ weight.T + bias).float())


def quality_of(*args):
    return float(qualities_of(*args).mean())


def total_error(weight, bias, student, teacher):
    return float((student.double() @ weight.T + bias - teacher.double()).square().sum())


@pytest.mark.parametrize("ridge_lambda", [1e-6, 0.01, 1.0])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_ridge_is_scikit_learns(ridge_lambda, offset):
    student, teacher = make_pairs()
    student = student + offset
    moments = moments_of(student, teacher)
    weight, bias = solve_ridge(moments, ridge_lambda)
    alpha = ridge_lambda * mean_eigenvalue(moments.gram)
    expected = linear_model.Ridge(alpha=alpha, solver="svd").fit(student.double().numpy(), teacher.double().numpy())
    np.testing.assert_allclose(weight, expected.coef_, rtol=1e-5, atol=1e-5)
    found = student.double() @ weight.T + bias
    np.testing.assert_allclose(found, expected.predict(student.double().numpy()), rtol=1e-5, atol=1e-5)


def test_linear_head_is_that_ridge():
    student, teacher = make_pairs()
    head = LinearHead(15, 22, ridge_lambda=0.1)
    assert head.solve(TensorBatches(student, teacher)) == {"ridge_lambda": 0.1}
    alpha = 0.1 * mean_eigenvalue(moments_of(student, teacher).gram)
    expected = linear_model.Ridge(alpha=alpha).fit(student.double().numpy(), teacher.double().numpy())
    np.testing.assert_allclose(head(student).detach(), expected.predict(student.double().numpy()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("ridge_lambda", [0, -0.1, float("nan"), float("inf")])
def test_ridge_refuses_what_is_no_strength(ridge_lambda):
    with pytest.raises(ConfigError, match="ridge_lambda"):
        solve_ridge(moments_of(*make_pairs()), ridge_lambda)


def test_ridge_survives_dimensions_that_repeat_each_other():
    student, teacher = make_pairs()
    student = torch.cat([student, student, 1e3 * student], dim=1)
    weight, bias = solve_ridge(moments_of(student, teacher), LAMBDAS[0] * 1e-6)
    assert total_error(weight, bias, student, teacher) < 1.1 * 400 * 22 * 0.3**2


def test_generalised_cross_validation_by_its_definition():
    # n·|(I − H)y|² / tr(I − H)², with the hat matrix written out
    student, teacher = make_pairs(60, noise=3.0)
    moments = moments_of(student, teacher)
    centered = (student - student.mean(0)).double().numpy()
    target = (teacher - teacher.mean(0)).double().numpy()
    errors = []
    for ridge_lambda in LAMBDAS:
        penalty = ridge_lambda * mean_eigenvalue(moments.gram)
        hat = centered @ np.linalg.solve(centered.T @ centered + penalty * np.eye(15), centered.T) + 1 / 60
        errors.append(((target - hat @ target) ** 2).sum() / np.trace(np.eye(60) - hat) ** 2)
    assert cross_validated_lambda(moments) == LAMBDAS[int(np.argmin(errors))]
    assert 0 < int(np.argmin(errors)) < len(LAMBDAS) - 1  # a case that can fail


def test_generalised_cross_validation_is_near_leave_one_out():
    student, teacher = make_pairs(60, noise=3.0)
    moments = moments_of(student, teacher)
    errors = []
    for ridge_lambda in LAMBDAS:
        left_out = 0.0
        for row in range(60):
            rest = torch.arange(60) != row
            part = moments_of(student[rest], teacher[rest])
            scaled = ridge_lambda * mean_eigenvalue(moments.gram) / mean_eigenvalue(part.gram)
            left_out += total_error(*solve_ridge(part, scaled), student[row : row + 1], teacher[row : row + 1])
        errors.append(left_out)
    chosen = errors[LAMBDAS.index(cross_validated_lambda(moments))]
    assert chosen <= 1.02 * min(errors)
    assert max(errors) > 1.1 * min(errors)


@pytest.mark.parametrize("count", [1024, 2000])
def test_held_out_quality_is_cosine_plus_neighbours(count):
    student, teacher = make_pairs(40, noise=3.0)
    held_out = make_pairs(count, seed=1, noise=3.0)
    train = moments_of(student, teacher)
    weight, bias = solve_ridge(train, 0.1)
    aligned = held_out[0].double() @ weight.T + bias
    unit = l2_normalize(held_out[1].double())
    rows = torch.arange(0, count, -(-count // 1024))
    expected = float(cosine(aligned[rows], unit[rows]).mean())
    expected += float(overlap_at_k(aligned, unit, k=10, most=count)[rows].mean())
    judge = HeldOut.of(TensorBatches(*held_out, 64), teacher)
    assert quality_of(train, judge, 0.1) == pytest.approx(expected, abs=1e-4)


def test_few_held_out_sentences_are_looked_for_among_training_sentences_too():
    judge = HeldOut.of(TensorBatches(*make_pairs(30, seed=1)), make_pairs(400)[1])
    assert len(judge.corpus) == 430
    assert (judge.itself == torch.arange(30)).all()
    assert (judge.wanted != judge.itself[:, None]).all()
    assert judge.quality(judge.teacher).numpy() == pytest.approx(2.0)
    one = make_pairs(1)
    assert HeldOut.of(TensorBatches(*one), one[1]).quality(torch.ones(1, 22)).shape == (1,)


def test_held_out_sentences_are_bounded():
    judge = HeldOut.of(TensorBatches(*make_pairs(20_000)), make_pairs(10)[1])
    assert len(judge.corpus) <= CORPUS
    assert len(judge.student) <= QUERIES


def test_the_best_lambda_is_the_weakest_of_those_that_noise_cannot_tell_apart():
    student, teacher = make_pairs(60, noise=3.0)
    train = moments_of(student, teacher)
    judge = HeldOut.of(TensorBatches(*make_pairs(300, seed=1, noise=3.0)), teacher)
    each = {value: qualities_of(train, judge, value) for value in LAMBDAS}
    best = max(LAMBDAS, key=lambda value: float(each[value].mean()))
    lost = {value: each[best] - each[value] for value in LAMBDAS}
    matching = [value for value in LAMBDAS if float(lost[value].mean()) <= float(lost[value].std()) / 300**0.5]
    choice = best_lambda(train, judge.student, judge)
    assert choice.quality == pytest.approx(float(each[best].mean()))
    assert choice.strength == matching[0] < best  # a case that can fail
    assert LAMBDAS[0] < choice.strength


@pytest.mark.parametrize("kind", [LinearHead, LowRankHead])
def test_every_head_goes_by_the_same_criterion(kind):
    train, held_out = TensorBatches(*make_pairs(60, noise=3.0)), TensorBatches(*make_pairs(300, seed=1, noise=3.0))
    judge = HeldOut.of(held_out, train.teacher)
    expected = best_lambda(moments_of(train.student, train.teacher), judge.student, judge).strength
    assert kind(15, 22).solve(train, held_out)["ridge_lambda"] == expected


@pytest.mark.parametrize("strength", [1e-10, 1e-20, 1e-300])
@pytest.mark.parametrize("kind", [partial(LowRankHead, energy=1.0), LocalMixtureHead])
def test_hardly_any_regularisation_with_fewer_pairs_than_dimensions(kind, strength):
    student, teacher = make_pairs(12, student_dim=40)
    head = kind(40, 22, ridge_lambda=strength)
    head.solve(TensorBatches(student, teacher), TensorBatches(student, teacher))
    assert float((head(student).detach() - teacher).abs().max()) < 0.1


@pytest.mark.parametrize("start", [0, 3, 6])
@pytest.mark.parametrize("peak", range(7))
def test_climb_finds_the_peak_and_tries_nothing_twice(start, peak):
    tried = []

    def attempt(value):
        tried.append(value)
        return value

    assert climb(range(7), start, attempt, lambda value: -abs(value - peak)) == peak
    assert len(tried) == len(set(tried))
    assert len(tried) <= abs(start - peak) + 3


def test_procrustes_is_scipys_for_equal_widths():
    student, teacher = make_pairs(student_dim=15, teacher_dim=15)
    weight, bias = solve_procrustes(moments_of(student, teacher))
    centered, target = ((part - part.mean(0)).double().numpy() for part in (student, teacher))
    rotation, strength = scipy.linalg.orthogonal_procrustes(centered, target)
    np.testing.assert_allclose(weight, (strength / (centered**2).sum() * rotation).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(bias, teacher.mean(0).double() - weight @ student.mean(0).double(), atol=1e-5)


@pytest.mark.parametrize(("student_dim", "teacher_dim"), [(8, 15), (15, 8)])
def test_procrustes_for_unequal_widths_is_scipys_of_padded_vectors(student_dim, teacher_dim):
    student, teacher = make_pairs(student_dim=student_dim, teacher_dim=teacher_dim)
    weight, _ = solve_procrustes(moments_of(student, teacher))
    rotation = weight / torch.linalg.matrix_norm(weight, 2)
    narrow = min(student_dim, teacher_dim)
    gram = rotation.T @ rotation if student_dim == narrow else rotation @ rotation.T
    np.testing.assert_allclose(gram, np.eye(narrow), atol=1e-8)
    centered, target = ((part - part.mean(0)).double().numpy() for part in (student, teacher))
    wide = max(student_dim, teacher_dim)
    padded = [np.pad(part, ((0, 0), (0, wide - part.shape[1]))) for part in (centered, target)]
    strength = scipy.linalg.orthogonal_procrustes(*padded)[1]
    assert float(((centered @ rotation.T.numpy()) * target).sum()) == pytest.approx(strength, rel=1e-6)


def test_procrustes_scale_is_the_least_squares_one():
    student, teacher = make_pairs(student_dim=15, teacher_dim=8)
    weight, bias = solve_procrustes(moments_of(student, teacher))
    best = total_error(weight, bias, student, teacher)
    for factor in (0.99, 1.01):
        other = teacher.double().mean(0) - factor * weight @ student.double().mean(0)
        assert total_error(factor * weight, other, student, teacher) > best


def test_orthogonal_head_does_not_train_its_rotation():
    head = OrthogonalHead(8, 15)
    assert [name for name, weight in head.named_parameters() if weight.requires_grad] == ["projection.bias"]
    np.testing.assert_allclose((head.projection.weight.T @ head.projection.weight), np.eye(8), atol=1e-5)


def test_reduced_rank_is_the_best_of_its_rank():
    """Against ridge's fitted values on data with the penalty as rows, cut by their singular vectors."""
    student, teacher = make_pairs(noise=3.0)
    moments = moments_of(student, teacher)
    penalty = 0.05 * mean_eigenvalue(moments.gram)
    centered, target = ((part - part.mean(0)).double().numpy() for part in (student, teacher))
    rows = np.vstack([centered, np.sqrt(penalty) * np.eye(15)])
    padded = np.vstack([target, np.zeros((15, 22))])
    full = np.linalg.lstsq(rows, padded, rcond=None)[0]
    directions = np.linalg.svd(rows @ full)[2][:4]
    down, up, bias = solve_reduced_rank(moments, 0.05, rank=4)
    np.testing.assert_allclose((up @ down).T, full @ directions.T @ directions, atol=1e-5)
    np.testing.assert_allclose(bias, (teacher.mean(0) - student.mean(0) @ (up @ down).T.float()), atol=1e-4)


def test_full_rank_is_ridge():
    moments = moments_of(*make_pairs())
    down, up, bias = solve_reduced_rank(moments, 0.05, rank=15)
    weight, expected = solve_ridge(moments, 0.05)
    np.testing.assert_allclose(up @ down, weight, atol=1e-8)
    np.testing.assert_allclose(bias, expected, atol=1e-8)


def test_rank_from_energy():
    student, teacher = make_pairs(noise=0.0)
    head = LowRankHead(15, 22, energy=0.9)
    chosen = head.solve(TensorBatches(student, teacher))
    assert 1 <= chosen["rank"] < 15 and head.arguments()["rank"] == chosen["rank"] == head.down.out_features
    ranks = [LowRankHead(15, 22, energy=energy).solve(TensorBatches(student, teacher))["rank"] for energy in (0.5, 1)]
    assert ranks[0] < chosen["rank"] < ranks[1] == 15


@pytest.mark.parametrize("energy", [0, 1.1])
def test_refuses_what_is_no_share(energy):
    with pytest.raises(ConfigError, match="energy"):
        LowRankHead(15, 22, energy=energy)


def space_of(student, teacher, features, seed):
    pairs = [(student, teacher)]
    return FeatureSpace.of(Moments.of(unit_students(pairs)).centered(), student, features, seed)


def test_moments_of_the_first_features_are_part_of_those_of_all():
    student, teacher = make_pairs(300)
    space = space_of(student, teacher, 64, seed=3)
    found = space.narrow_moments(Moments.of(space.batches([(student, teacher)])).centered(), 24)
    expected = Moments.of(space.narrow(24).batches([(student, teacher)])).centered()
    for name, value in vars(expected).items():
        torch.testing.assert_close(torch.as_tensor(getattr(found, name)), torch.as_tensor(value), rtol=1e-4, atol=1e-3)


def test_directions_are_orthogonal_and_as_long_as_normal_vectors():
    directions = orthogonal_directions(30, 75, torch.Generator().manual_seed(0)).double()
    assert directions.shape == (75, 30)
    for block in (directions[:30], directions[30:60], directions[60:]):
        products = block @ block.T
        np.testing.assert_allclose(products, torch.diag(products.diagonal()), atol=1e-4)
    assert float(directions.square().sum(1).mean()) == pytest.approx(30, rel=0.1)


def test_cosines_approximate_the_gaussian_kernel():
    student, teacher = (l2_normalize(part) for part in make_pairs(100))
    space = space_of(student, teacher, features=20_000, seed=0)
    features = space(student)
    stretched, waves = features[:, :15].double(), features[:, 15:].double()
    assert float(stretched.square().sum(1).mean()) == pytest.approx(1, rel=1e-3)
    distances = torch.cdist(stretched, stretched)
    # bandwidth 1 is the median distance
    median = distances[~torch.eye(100, dtype=torch.bool)].median()
    np.testing.assert_allclose(waves @ waves.T, torch.exp(-((distances / median) ** 2) / 2), atol=0.05)


def test_head_computes_what_ridge_on_the_features_gives():
    student, teacher = make_pairs(300)
    train = TensorBatches(student, teacher, 64)
    head = RandomFeaturesHead(15, 22, features=64, bandwidth=1.3, ridge_lambda=0.01, seed=3)
    head.solve(train)
    space = space_of(student, teacher, 64, seed=3)
    stretched = space(student)[:, :15]
    waves = np.sqrt(2 / 64) * torch.cos(stretched @ space.directions.T / 1.3 + space.phases)
    features = torch.cat([stretched, waves], dim=1).double().numpy()
    alpha = 0.01 * ((features - features.mean(0)) ** 2).sum() / features.shape[1]
    expected = linear_model.Ridge(alpha=alpha, solver="svd").fit(features, teacher.double().numpy())
    np.testing.assert_allclose(head(student).detach(), expected.predict(features), rtol=0, atol=2e-3)


def test_random_features_learn_what_a_linear_map_cannot():
    generator = torch.Generator().manual_seed(0)
    student = l2_normalize(torch.randn(2600, 6, generator=generator))
    teacher = l2_normalize(torch.sin(2 * student @ torch.randn(6, 12, generator=generator)))
    train, test = TensorBatches(student[:2000], teacher[:2000]), (student[2000:], teacher[2000:])
    cosines = {}
    for head in (LinearHead(6, 12), RandomFeaturesHead(6, 12, features=512)):
        head.solve(train)
        cosines[head.kind()] = float(cosine(head(test[0]), test[1]).detach().mean())
    assert cosines["random_features"] > cosines["linear"] + 0.05
    assert cosines["random_features"] > 0.9


def test_another_seed_draws_other_directions():
    student, teacher = make_pairs(100)
    heads = [RandomFeaturesHead(15, 22, features=16, bandwidth=1, ridge_lambda=0.1, seed=seed) for seed in (0, 1)]
    for head in heads:
        head.solve(TensorBatches(student, teacher))
    assert not torch.allclose(heads[0].waves.weight, heads[1].waves.weight)


def test_nearest_means_find_well_separated_regions():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = (centres[torch.arange(90) % 3] + 0.1 * torch.randn(90, 2, generator=generator)).float()
    found = nearest_means(vectors, 3, seed=0)
    assert torch.cdist(centres, found).amin(dim=1).max() < 0.1


def test_local_mixture_learns_a_map_for_each_region():
    generator = torch.Generator().manual_seed(0)
    side = torch.randint(0, 2, (1500,), generator=generator)
    student = l2_normalize(torch.randn(1500, 8, generator=generator) + 6 * torch.eye(8)[:2][side])
    maps = torch.randn(2, 8, 12, generator=generator)
    teacher = l2_normalize(torch.einsum("bd,bdt->bt", student - student.mean(0), maps[side]))
    cosines = {}
    for head in (LinearHead(8, 12), LocalMixtureHead(8, 12, regions=2)):
        head.solve(TensorBatches(student[:1000], teacher[:1000]))
        cosines[head.kind()] = float(cosine(head(student[1000:]), teacher[1000:]).detach().mean())
    assert cosines["local_mixture"] > cosines["linear"] + 0.04


def test_strong_shrinkage_leaves_the_common_solution():
    student, teacher = make_pairs()
    head = LocalMixtureHead(15, 22, regions=3, ridge_lambda=1e9)
    head.solve(TensorBatches(student, teacher))
    torch.testing.assert_close(head(student), head.common(l2_normalize(student)), rtol=0, atol=1e-4)


def test_breaking_ridge_breaks_every_head_that_leans_on_it(monkeypatch):
    """The contract's comparisons would notice a solver that returns nothing of use."""
    monkeypatch.setattr(ridge_module, "solve_positive", lambda matrix, right: torch.zeros_like(right))
    student, teacher = make_pairs()
    head = LinearHead(15, 22)
    head.solve(TensorBatches(student, teacher))
    with torch.no_grad():
        assert float((head(student) - teacher).square().mean()) > 5 * 0.3**2
