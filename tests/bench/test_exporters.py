"""What a head costs: against a bare matrix product, rounded against not, and an index moved against plain NumPy."""

import statistics
import time

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.exporters.base import Job, export_head
from alignkit.heads.linear import LinearHead
from alignkit.migration.moving import migrate

STUDENT_DIM, TEACHER_DIM = 896, 3584
INDEX_ROWS = 40_000


def seconds(*functions, rounds=15, inner=20):
    """Median seconds a call of each function, measured in turns, so that a busy machine hits all alike."""
    taken = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(rounds):
        for times, function in zip(taken, functions, strict=True):
            started = time.perf_counter()
            for _ in range(inner):
                function()
            times.append((time.perf_counter() - started) / inner)
    return [statistics.median(times) for times in taken]


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    return LinearHead(STUDENT_DIM, TEACHER_DIM).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def query():
    return np.random.default_rng(0).standard_normal((1, STUDENT_DIM)).astype(np.float32)


def test_one_query_through_the_head(head, query, record_property):
    weight, bias = np.ascontiguousarray(head.projection.weight.numpy().T), head.projection.bias.numpy()

    def with_torch():
        with torch.inference_mode():
            return head(torch.from_numpy(query)).numpy()

    bare, torchs = seconds(lambda: query @ weight + bias, with_torch)
    for name, value in (("numpy_ms", bare * 1e3), ("head_ms", torchs * 1e3), ("ratio", torchs / bare)):
        record_property(name, value)
    assert torchs <= 1.5 * bare


def test_rounded_onnx_is_faster(head, query, record_property, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    vectors = np.random.default_rng(1).standard_normal((50, STUDENT_DIM)).astype(np.float32)
    calls = []
    for quantize in (None, "int8", "float16"):
        job = Job(Artifact({"query_head": head}), tmp_path, vectors, "random rows", options={"quantize": quantize})
        export_head("onnx", job, tmp_path / f"onnx-{quantize}")
        path = tmp_path / f"onnx-{quantize}" / "head.onnx"
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        calls.append(lambda session=session: session.run(None, {"student": query}))
    precise, int8, float16 = seconds(*calls)
    for name, value in (("fp32_ms", precise), ("int8_ms", int8), ("float16_ms", float16)):
        record_property(name, value * 1e3)
    assert min(int8, float16) < precise


def test_moving_an_index(record_property, tmp_path):
    student_dim, teacher_dim = 384, 1024
    torch.manual_seed(0)
    head = LinearHead(student_dim, teacher_dim).eval().requires_grad_(False)
    old = tmp_path / "old.npy"
    np.save(old, np.random.default_rng(0).standard_normal((INDEX_ROWS, student_dim)).astype(np.float32))
    weight, bias = np.ascontiguousarray(head.projection.weight.numpy().T), head.projection.bias.numpy()
    number = iter(range(1000))

    def plain():
        vectors = np.load(old, mmap_mode="r")
        made = np.lib.format.open_memmap(
            tmp_path / f"plain-{next(number)}.npy", "w+", np.float32, (INDEX_ROWS, teacher_dim)
        )
        for start in range(0, INDEX_ROWS, 8192):
            made[start : start + 8192] = vectors[start : start + 8192] @ weight + bias
        made.flush()

    def ours():
        migrate(old, Artifact({"query_head": head}), tmp_path / f"ours-{next(number)}.npy")

    bare, moved = seconds(plain, ours, rounds=5, inner=1)
    for name, value in (("plain_s", bare), ("migrate_s", moved), ("share_of_the_rate", bare / moved)):
        record_property(name, value)
    assert bare / moved >= 0.7
