"""Exact neighbours: the same whatever the rough pass computes in, ties in order of the row, nothing excluded found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from alignkit import corpus_blocks, neighbours, rounding
from alignkit.vectors import cosine, l2_normalize, top_k

# without units for it, some builds of torch saturate sums of int8
INT8 = pytest.param(torch.int8, marks=pytest.mark.skipif(not rounding.cpu_multiplies_int8(), reason="needs VNNI"))


def reference(queries, corpus, k, exclude=None):
    """By brute force in float64 on the same float32 unit vectors, ordered by (-score, row)."""
    unit = [l2_normalize(torch.as_tensor(side).float()).double().numpy() for side in (queries, corpus)]
    scores = (unit[0] @ unit[1].T).astype(np.float32)
    if exclude is not None:
        for query, row in enumerate(exclude):
            if row >= 0:
                scores[query, row] = -np.inf
    order = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def generative_like(count, width, seed, mean_cosine=0.94):
    """Unit-free vectors that share a mean, their spread in few directions, as a raw language model's."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randn(count, 24, generator=generator) @ torch.randn(
        24, width, generator=torch.Generator().manual_seed(99)
    )
    spread += 0.3 * torch.randn(count, width, generator=generator)
    spread *= ((1 - mean_cosine) / mean_cosine) ** 0.5 / spread.norm(dim=1).mean()
    shared = torch.zeros(width)
    shared[0] = 1.0
    return shared + spread


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(corpus_blocks, "BLOCK_ELEMENTS", 20_000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, INT8, torch.float64])
@pytest.mark.parametrize("mean_cosine", [0.0001, 0.94])
def test_equals_brute_force_in_every_format(small_blocks, dtype, mean_cosine):
    queries = generative_like(150, 64, 1, mean_cosine)
    corpus = generative_like(1100, 64, 2, mean_cosine)
    scores, rows = top_k(queries, corpus, 10, dtype=dtype)
    expected_scores, expected_rows = reference(queries, corpus, 10)
    np.testing.assert_array_equal(rows.numpy(), expected_rows)
    np.testing.assert_allclose(scores.numpy(), expected_scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, INT8])
@pytest.mark.parametrize("alike", [True, False], ids=["of one mean", "queries of another"])
def test_no_rough_score_is_further_off_than_its_slack(dtype, alike):
    queries, corpus = (l2_normalize(generative_like(200, 300, seed)) for seed in (1, 2))
    if not alike:
        queries = queries.roll(7, dims=1)
    mean = corpus[:50].mean(dim=0)
    rough = rounding.RoughVectors.of_queries(queries, mean, dtype)
    rough_corpus = rounding.RoughVectors.of_corpus(corpus, mean, dtype)
    error = (rough.scores(rough_corpus).double() - queries.double() @ corpus.double().T).abs().max(dim=1).values
    slack = rough.slack(rough_corpus)
    assert (error <= slack).all()
    if dtype != torch.float32 and alike:
        # a bound that is far too wide would be right and useless
        assert float((slack / error).median()) < 8


@pytest.mark.skipif(not rounding.cpu_multiplies_int8(), reason="needs VNNI")
def test_vectors_of_few_values_are_not_rounded_one_way():
    """What is rounded to the nearest level is off by the same everywhere if all numbers are, and such errors add up."""
    signs = torch.randint(0, 2, (300, 512), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    queries, corpus = l2_normalize(0.3 * signs[:100] + 1.0), l2_normalize(0.7 * signs[100:] + 1.0)
    mean = torch.zeros(512)
    rough = rounding.RoughVectors.of_queries(queries, mean, torch.int8)
    rough_corpus = rounding.RoughVectors.of_corpus(corpus, mean, torch.int8)
    error = (rough.scores(rough_corpus).double() - queries.double() @ corpus.double().T).abs().max(dim=1).values
    assert (error <= rough.slack(rough_corpus)).all()


@pytest.mark.skipif(not rounding.cpu_multiplies_int8(), reason="needs VNNI")
def test_an_int8_product_is_exact():
    """A build of torch whose int8 sums saturate must not be taken for one that multiplies int8."""
    extremes = torch.full((33, 4099), 127, dtype=torch.int8)
    assert (torch._int_mm(extremes, -extremes.T) == -127 * 127 * 4099).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, INT8])
def test_centring_is_what_keeps_the_search_off_a_second_pass(monkeypatch, dtype):
    queries, corpus = generative_like(100, 256, 1), generative_like(3000, 256, 2)
    crowded = []

    def counting(unit, *rest, **options):
        crowded.append(len(unit))
        return top_k(unit, *rest, **options)

    monkeypatch.setattr(neighbours, "top_k", counting)
    centred = top_k(queries, corpus, 10, dtype=dtype)
    assert sum(crowded) == 0
    for name in ("of_queries", "of_corpus"):
        original = getattr(rounding.RoughVectors, name)
        uncentred = staticmethod(lambda unit, mean, dtype, original=original: original(unit, 0 * mean, dtype))
        monkeypatch.setattr(rounding.RoughVectors, name, uncentred)
    as_it_is = top_k(queries, corpus, 10, dtype=dtype)
    assert sum(crowded) > 50
    assert torch.equal(centred[1], as_it_is[1])


def test_products_are_the_same_where_torch_has_no_kernel_for_them(monkeypatch):
    queries, corpus = generative_like(100, 64, 1), generative_like(3000, 64, 2)
    with_kernel = top_k(queries, corpus, 10, dtype=torch.bfloat16)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    without = top_k(queries, corpus, 10, dtype=torch.bfloat16)
    for one, other in zip(with_kernel, without, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-7)


def test_hits_well_apart_are_not_scored_again(monkeypatch):
    counts = []
    pair_cosines = neighbours.pair_cosines

    def counting(unit, corpus, queries, rows, dtype):
        counts.append(len(rows))
        return pair_cosines(unit, corpus, queries, rows, dtype)

    monkeypatch.setattr(neighbours, "pair_cosines", counting)
    generator = torch.Generator().manual_seed(0)
    queries, corpus = (torch.randn(count, 64, generator=generator) for count in (100, 2000))
    top_k(queries, corpus, 10, dtype=torch.float32)
    assert sum(counts) < 100 * 10 / 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, INT8])
def test_equal_rows_tie_and_come_in_order(small_blocks, dtype):
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(40, 97, generator=generator)
    corpus = distinct.repeat(30, 1)
    scores, rows = top_k(distinct, corpus, 30, dtype=dtype)
    np.testing.assert_array_equal(rows.numpy(), np.arange(40)[:, None] + 40 * np.arange(30))
    assert (scores == scores[:, :1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, INT8])
def test_a_constant_corpus_is_answered_in_order_of_the_row(small_blocks, dtype):
    corpus = torch.full((900, 31), 0.3)
    rows = top_k(torch.randn(50, 31, generator=torch.Generator().manual_seed(0)), corpus, 5, dtype=dtype)[1]
    np.testing.assert_array_equal(rows.numpy(), np.tile(np.arange(5), (50, 1)))


def test_a_corpus_sorted_from_worst_to_best_still_gives_the_best(small_blocks):
    query = torch.tensor([[1.0, 0.0]])
    angles = torch.linspace(3.0, 0.1, 30_000, dtype=torch.float64)
    corpus = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    np.testing.assert_array_equal(top_k(query, corpus, 7)[1].numpy(), reference(query, corpus, 7)[1])


def test_leaves_out_the_excluded_row_alone(small_blocks):
    vectors = generative_like(700, 33, 3)
    exclude = torch.arange(700)
    exclude[::7] = -1
    scores, rows = top_k(vectors, vectors, 4, exclude=exclude)
    assert (rows[::7, 0] == torch.arange(0, 700, 7)).all()
    kept = exclude >= 0
    assert not (rows[kept] == exclude[kept, None]).any()
    np.testing.assert_array_equal(rows.numpy(), reference(vectors, vectors, 4, exclude.numpy())[1])


def test_a_corpus_smaller_than_k_is_padded():
    scores, rows = top_k(torch.eye(3), torch.eye(3)[:2], 4, exclude=np.array([0, -1, -1]))
    assert rows.tolist() == [[1, -1, -1, -1], [1, 0, -1, -1], [0, 1, -1, -1]]
    assert torch.isneginf(scores[:, 2:]).all()
    assert torch.isneginf(scores[0, 1])


def test_an_empty_corpus_or_no_query_gives_nothing():
    assert top_k(torch.eye(2), torch.zeros(0, 2), 3)[1].tolist() == [[-1, -1, -1], [-1, -1, -1]]
    assert top_k(torch.zeros(0, 2), torch.eye(2), 3)[1].shape == (0, 3)


def test_reads_a_memory_map_of_half_floats(small_blocks, tmp_path):
    corpus = generative_like(1500, 48, 5).half().numpy()
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    queries = generative_like(20, 48, 6)
    np.testing.assert_array_equal(top_k(queries, mapped, 9)[1].numpy(), reference(queries, corpus, 9)[1])


def test_a_zero_vector_is_at_cosine_0_from_everything():
    scores, rows = top_k(torch.tensor([[0.0, 0.0], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), 2)
    assert scores.tolist() == [[0.0, 0.0], [0.0, -1.0]]
    assert rows.tolist() == [[0, 1], [1, 0]]


def test_cosine_is_clamped_and_0_for_zero_rows():
    vectors = torch.randn(500, 7, generator=torch.Generator().manual_seed(0))
    assert float(cosine(vectors, vectors).max()) <= 1.0
    assert cosine(vectors, torch.zeros_like(vectors)).abs().max() == 0
    torch.testing.assert_close(l2_normalize(vectors).norm(dim=1), torch.ones(500))


def no_capabilities():
    raise RuntimeError("cpuinfo is not available in this build")


@pytest.mark.parametrize("build", ["without oneDNN", "that cannot look at the chip", "older"])
def test_a_build_of_torch_that_lacks_parts_searches_all_the_same(monkeypatch, build):
    if build == "without oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    elif build == "older":
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", no_capabilities)
    monkeypatch.setattr(neighbours, "SMALL_PRODUCT", 1)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    neighbours.fastest_dtype.cache_clear()
    try:
        assert neighbours.fastest_dtype("cpu") == torch.float32
        queries, corpus = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(0))
        assert np.array_equal(top_k(queries, corpus, 5)[1], reference(queries, corpus, 5)[1])
    finally:
        neighbours.fastest_dtype.cache_clear()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs to see which pages of a file are resident")
def test_a_file_that_was_searched_is_not_held_in_memory(tmp_path):
    """A corpus larger than memory is searched through a map, of which no more than a block may stay."""
    from alignkit.vector_files import check_vectors, open_vectors

    np.save(tmp_path / "corpus.npy", np.random.default_rng(0).standard_normal((40_000, 256), dtype=np.float32))
    corpus = open_vectors(tmp_path / "corpus.npy")

    def resident_kb():
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        return sum(
            int(next(line for line in lines if line.startswith("Rss:")).split()[1])
            for line in lines
            if line.endswith("corpus.npy")
        )

    expected = top_k(corpus[:3], np.array(corpus), 5)[1]
    assert resident_kb() > 30_000  # all of it was read
    check_vectors(corpus, "corpus.npy")
    assert resident_kb() < 8_000
    assert torch.equal(top_k(corpus[:3], corpus, 5)[1], expected) and resident_kb() < 8_000
