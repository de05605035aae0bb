import numpy as np
import pytest
import torch
from needed import needed
from scipy import stats

from alignkit.metrics.alignment import (
    alignment_figures,
    centered_cosine,
    cosine_summary,
    overlap_at_k,
    pairwise_spearman,
    r2,
    sentence_pairs,
    spearman,
)
from alignkit.metrics.collected import AlignmentMetric
from alignkit.metrics.self_retrieval import self_retrieval
from alignkit.vectors import l2_normalize

metrics = needed("sklearn.metrics")


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    teacher = l2_normalize(torch.randn(200, 16, generator=generator) + 0.5)
    return teacher + 0.1 * torch.randn(200, 16, generator=generator), teacher


def test_cosine_summary_agrees_with_scikit_learn(vectors):
    cosines = 1 - metrics.pairwise.paired_cosine_distances(*(side.numpy() for side in vectors))
    figures = alignment_figures(*vectors, teacher_mean=vectors[1].mean(dim=0))
    assert figures["cosine_mean"] == pytest.approx(cosines.mean(), abs=1e-6)
    for name, quantile in (("cosine_p05", 0.05), ("cosine_p50", 0.5), ("cosine_p95", 0.95)):
        assert figures[name] == pytest.approx(np.quantile(cosines, quantile), abs=1e-6)


def test_r2_agrees_with_scikit_learn(vectors):
    aligned, teacher = vectors
    # scikit-learn averages over dimensions weighted by variance: that is the sum over dimensions
    expected = metrics.r2_score(teacher.numpy(), aligned.numpy(), multioutput="variance_weighted")
    assert r2(aligned, teacher) == pytest.approx(expected, abs=1e-5)


def test_spearman_agrees_with_scipy_over_all_pairs(vectors):
    upper = np.triu_indices(200, k=1)
    expected = stats.spearmanr(*(metrics.pairwise.cosine_similarity(side.numpy())[upper] for side in vectors)).statistic
    assert pairwise_spearman(*vectors) == pytest.approx(expected, abs=1e-5)


def test_spearman_compares_spaces_of_different_widths(vectors):
    student = torch.nn.functional.pad(vectors[0], (0, 5))  # the same similarities
    assert pairwise_spearman(student, vectors[1]) == pytest.approx(pairwise_spearman(*vectors))


def test_overlap_agrees_with_a_plain_loop(vectors):
    aligned, teacher = (l2_normalize(side) for side in vectors)
    expected = []
    for row in range(len(teacher)):
        nearest = []
        for side in (teacher, aligned):
            scores = teacher @ side[row]
            scores[row] = -2
            nearest.append(set(torch.topk(scores, 10).indices.tolist()))
        expected.append(len(nearest[0] & nearest[1]) / 10)
    assert overlap_at_k(*vectors).tolist() == pytest.approx(expected)


def test_the_teacher_itself_is_perfect(vectors):
    teacher = vectors[1]
    figures = alignment_figures(teacher, teacher, teacher.mean(dim=0))
    assert figures["cosine_mean"] == pytest.approx(1) and figures["r2"] == pytest.approx(1)
    assert figures["spearman"] == pytest.approx(1)
    assert overlap_at_k(teacher, teacher).mean() == 1


def test_predicting_the_mean_scores_by_cosine_and_not_when_centred():
    generator = torch.Generator().manual_seed(0)
    teacher = l2_normalize(torch.randn(500, 64, generator=generator) * 0.1 + 1)
    mean = teacher.mean(dim=0)
    figures = alignment_figures(mean.expand_as(teacher), teacher, mean)
    assert figures["cosine_mean"] > 0.99
    assert abs(figures["cosine_centered_mean"]) < 0.05
    assert figures["r2"] == pytest.approx(0, abs=1e-4)
    assert figures["spearman"] is None


def test_swapped_pairs_are_found_out(vectors):
    aligned, teacher = vectors
    shuffled = alignment_figures(aligned.roll(1, dims=0), teacher, teacher.mean(dim=0))
    assert (
        shuffled["cosine_centered_mean"]
        < 0.2
        < alignment_figures(*vectors, teacher.mean(dim=0))["cosine_centered_mean"]
    )


def test_zero_vectors_have_cosine_zero():
    zero, one = torch.zeros(1, 3), torch.ones(1, 3)
    assert alignment_figures(zero, one, torch.zeros(3))["cosine_mean"] == 0
    assert centered_cosine(zero, one, torch.zeros(3)).tolist() == [0]


def test_nothing_is_none_and_never_nan():
    assert set(cosine_summary(torch.zeros(0)).values()) == {None}
    one = torch.ones(1, 3)
    assert r2(one, one) is None
    assert pairwise_spearman(one, one) is None
    assert len(overlap_at_k(one, one)) == 0
    constant = torch.ones(5, 3)
    assert r2(constant, constant) is None


def test_sentence_pairs_are_distinct_bounded_and_seeded():
    assert sentence_pairs(4).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    pairs = sentence_pairs(10_000, seed=3, most=500)
    assert len(pairs) == 500 == len(np.unique(pairs, axis=0))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (pairs == sentence_pairs(10_000, seed=3, most=500)).all()
    assert (pairs != sentence_pairs(10_000, seed=4, most=500)).any()


def test_the_metric_over_batches_in_any_order_equals_the_functions(vectors):
    aligned, teacher = vectors
    metric = AlignmentMetric(teacher.mean(dim=0), len(teacher))
    order = torch.randperm(len(teacher), generator=torch.Generator().manual_seed(1))
    for rows in torch.split(order, 37):
        metric.update(rows, aligned[rows], teacher[rows])
    metric.update(order[:5], aligned[order[:5]], teacher[order[:5]])  # a padded process saw some twice
    figures = metric.compute()
    expected = alignment_figures(aligned, teacher, teacher.mean(dim=0))
    for name in ("cosine_mean", "cosine_p05", "cosine_centered_mean", "spearman"):
        assert figures[name] == pytest.approx(expected[name], abs=1e-6)
    assert figures["overlap@10"] == pytest.approx(float(overlap_at_k(aligned, teacher).mean()))
    own = torch.arange(len(teacher))
    assert figures["self_mrr"] == pytest.approx(self_retrieval(aligned, teacher, own).figures()["self_mrr"])


def test_a_text_has_to_find_itself_among_the_others_too(vectors):
    aligned, teacher = vectors
    alone, crowded = (AlignmentMetric(teacher.mean(dim=0), len(teacher), others=others) for others in (None, aligned))
    for metric in (alone, crowded):
        metric.update(torch.arange(len(teacher)), aligned, teacher)
    # each text's own output lies there too, nearer than the teacher's vector
    assert crowded.compute()["self_recall@1"] == 0 < alone.compute()["self_recall@1"]


def test_spearman_of_ties_agrees_with_scipy_and_what_is_not_finite_is_undefined():
    first, second = np.random.default_rng(0).integers(0, 9, (2, 200)).astype(np.float32)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)
    assert spearman(np.full(200, np.nan), second) is None
