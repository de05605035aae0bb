"""Speed and memory of an evaluation, as ratios within one run. Run: python -m pytest tests/bench/test_evaluation.py"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.learning_curve import learning_curve
from alignkit.evaluation.query_times import query_times
from alignkit.evaluation.table_rows import RowName
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.metrics.intervals import bootstrap_means
from alignkit.metrics.retrieval import Qrels, ndcg_at_k, recall_at_k, reciprocal_rank
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import EvaluationSet, Side, set_of_pairs
from alignkit.reporting.report_files import write_report
from alignkit.rounding import cpu_multiplies_bfloat16

QUERIES, CORPUS, STUDENT_DIM, TEACHER_DIM = 2_000, 20_000, 896, 3_584
DEPTH = 100


def median_s(call, rounds=3):
    times = []
    for _ in range(rounds):
        gc.collect()
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def spectrum_like(count, width, map_seed, seed, mean_cosine=0.5):
    """Vectors whose spread falls off over directions as real models' does, about a shared mean."""
    generator = torch.Generator().manual_seed(seed)
    rank = 256
    weights = torch.arange(1, rank + 1) ** -0.5
    basis = torch.randn(rank, width, generator=torch.Generator().manual_seed(map_seed))
    points = torch.randn(count, rank, generator=generator) * weights
    vectors = points @ basis
    shared = torch.zeros(width)
    shared[0] = float(vectors.norm(dim=1).mean()) * (mean_cosine / (1 - mean_cosine)) ** 0.5
    return points, (vectors + shared).half().numpy()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """2,000 queries against 20,000 x 3,584 memory-mapped half floats."""
    folder = tmp_path_factory.mktemp("large")
    sides = {}
    for name, count, seed in (("queries", QUERIES, 1), ("corpus", CORPUS, 2)):
        points, teacher = spectrum_like(count, TEACHER_DIM, 10, seed)
        basis = torch.randn(256, STUDENT_DIM, generator=torch.Generator().manual_seed(11))
        student = (points @ basis + torch.randn(count, STUDENT_DIM)).half().numpy()
        for side, vectors in (("student", student), ("teacher", teacher)):
            np.save(folder / f"{name}_{side}.npy", vectors)
        mapped = [np.load(folder / f"{name}_{side}.npy", mmap_mode="r") for side in ("student", "teacher")]
        sides[name] = Side(*mapped)
    relevant = np.random.default_rng(0).integers(0, CORPUS, QUERIES)
    qrels = Qrels.of(range(QUERIES), relevant, [1] * QUERIES, (QUERIES, CORPUS))
    return EvaluationSet(sides["queries"], sides["corpus"], np.full(QUERIES, -1), qrels)


@pytest.fixture(scope="module")
def heads(large):
    head, mean = LinearHead(STUDENT_DIM, TEACHER_DIM), LinearHead(STUDENT_DIM, TEACHER_DIM)
    student = torch.from_numpy(np.array(large.corpus.student[:4000], dtype=np.float32))
    teacher = torch.nn.functional.normalize(torch.from_numpy(np.array(large.corpus.teacher[:4000], dtype=np.float32)))
    head.solve(TensorBatches(student, teacher))
    with torch.no_grad():
        mean.projection.weight.zero_()
        mean.projection.bias.copy_(teacher.mean(dim=0))
    return Artifact(parts={"query_head": head.requires_grad_(False)}), {"ridge": head, "mean": mean}


def bare_passes(test):
    """As many matrix products and top-k as there are rows that search, on tensors that are ready for them."""
    dtype = torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32

    def unit(vectors):
        return torch.nn.functional.normalize(torch.from_numpy(np.array(vectors, dtype=np.float32)), dim=1).to(dtype)

    teacher = unit(test.queries.teacher), unit(test.corpus.teacher)
    student = unit(test.queries.student), unit(test.corpus.student)

    def passes():
        # teacher, aligned, ridge, raw, mean, aligned_both; student
        for _ in range(6):
            torch.topk(teacher[0] @ teacher[1].T, DEPTH)
        torch.topk(student[0] @ student[1].T, DEPTH)

    return passes


def test_all_rows_beside_bare_passes(large, heads, record_property):
    artifact, baselines = heads
    bare = median_s(bare_passes(large))
    whole = median_s(lambda: compare(large, artifact, baselines))
    print(f"\nbare {bare:.2f} s, whole evaluation {whole:.2f} s, ratio {whole / bare:.2f}")
    record_property("ratio", whole / bare)
    # 1.8 is the aim; the random projection is too near to too much of the corpus for int8, and is searched in float32
    assert whole <= 2.3 * bare


def test_peak_of_anonymous_memory(large, heads):
    artifact, baselines = heads
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc")
    gc.collect()
    peak, done = [0], threading.Event()

    def anonymous_bytes():
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon"):
                return 1024 * int(line.split()[1])
        return 0

    def watch():
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    compare(large, artifact, baselines)
    done.set()
    watcher.join()
    print(f"\npeak {peak[0] / 1e9:.2f} GB")
    assert peak[0] < 2e9


def test_metrics_of_ten_thousand_rankings():
    generator = np.random.default_rng(0)
    found = generator.integers(0, 100_000, (10_000, 100))
    queries = np.repeat(np.arange(10_000), 5)
    rows = generator.permutation(100_000)[:50_000]
    qrels = Qrels.of(queries, rows, np.ones(50_000), (10_000, 100_000))

    def metrics():
        judged = qrels.judge(found)
        for k in (1, 5, 10):
            recall_at_k(judged, k)
        reciprocal_rank(judged)
        reciprocal_rank(judged, 10)
        ndcg_at_k(judged, 10)

    seconds = median_s(metrics, 7)
    print(f"\nmetrics {1000 * seconds:.0f} ms")
    assert seconds < 0.1


def test_bootstrap_of_ten_thousand_queries():
    figures = np.random.default_rng(0).random((10_000, 1))
    seconds = median_s(lambda: bootstrap_means(figures, resamples=1000))
    print(f"\nbootstrap {seconds:.2f} s")
    assert seconds < 2


def test_report_of_the_demo_pack(tmp_path):
    splits = load_demo()
    test = set_of_pairs(splits.test, splits.origin)
    head = LinearHead(splits.train.student_dim, splits.train.teacher_dim)
    teacher = torch.nn.functional.normalize(torch.from_numpy(splits.train.teacher).float(), dim=1)
    head.solve(TensorBatches(torch.from_numpy(splits.train.student).float(), teacher))
    artifact = Artifact(parts={"query_head": head.requires_grad_(False)})
    parts = {}

    def timed(name, call):
        started = time.perf_counter()
        result = call()
        parts[name] = time.perf_counter() - started
        return result

    def report():
        result = timed("comparison", lambda: compare(test, artifact))
        curve = timed("curve", lambda: learning_curve(splits, test, result.measure))
        times = timed("times", lambda: query_times(test, {RowName.ALIGNED: head}, {}))
        timed("files", lambda: write_report(replace(result.with_times(times), curve=curve), tmp_path))

    seconds = median_s(report)
    print(f"\nreport {seconds:.2f} s: " + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()))
    assert seconds < 4
