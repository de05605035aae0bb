"""ONNX: vectors in, normalised vectors out, any number of rows; checked with ONNX Runtime."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignkit.agreement import Tolerance
from alignkit.exporters.base import Job
from alignkit.exporters.dense import affine_layer
from alignkit.exporters.graph import TRACE_ROWS, trace
from alignkit.extras import check_installed
from alignkit.files import move
from alignkit.heads.base import Head
from alignkit.setting_rules import check, one_of
from alignkit.vectors import l2_normalize

OPTIONS = frozenset({"quantize"})
CARRIES_MODELS = False
MODEL = "head.onnx"
STUDENT, ALIGNED = "student", "aligned"
# the first opset whose operators every runtime of the last years has
OPSET = 18
# batches of other sizes than the traced one must give the same rows
ODD_ROWS = 7

_TOLERANCES = {None: Tolerance(2e-5), "float16": Tolerance(5e-3, 0.9999), "int8": Tolerance(0.2, 0.95)}


class _Normalised(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, student: Tensor) -> Tensor:
        return l2_normalize(self.head(student))


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse an unknown rounding, and a package that is missing.

    Raises:
        AlignkitError: for either.
    """
    check(options, {"quantize": one_of(("int8", "float16")).or_null()})
    check_installed("onnx", "onnx", "onnxscript", "onnxruntime")


def tolerance(job: Job) -> Tolerance:
    """Wider where the weights are rounded."""
    return _TOLERANCES[job.options.get("quantize")]


def write(job: Job, folder: Path) -> dict[str, Any]:
    """`head.onnx`, and with `quantize` its rounded form alone."""
    quantize = job.options.get("quantize")
    path = folder / MODEL
    _export(_simplest(job.head), path, job.head.student_dim)
    if quantize is not None:
        precise = folder / "precise.onnx"
        move(path, precise)
        (_to_int8 if quantize == "int8" else _to_float16)(precise, path)
        precise.unlink()
    return {
        "inputs": {STUDENT: ["batch", job.head.student_dim]},
        "outputs": {ALIGNED: ["batch", job.head.teacher_dim]},
        "opset": OPSET,
        "quantize": quantize,
    }


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Run ONNX Runtime on the CPU, the rows in two batches of odd sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
    parts = [part for part in (job.vectors[:1], job.vectors[1:ODD_ROWS], job.vectors[ODD_ROWS:]) if len(part)]
    return np.concatenate([session.run([ALIGNED], {STUDENT: part})[0] for part in parts])


def _simplest(head: Head) -> nn.Module:
    """One matrix where the head is no more than that: fewer operators, and a bias that has taken in the centring."""
    layer = affine_layer(head)
    if layer is None:
        trace(head)  # says in a line what torch.onnx would bury in a report
        return head
    linear = nn.Linear(head.student_dim, head.teacher_dim)
    linear.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    return linear


def _export(head: nn.Module, path: Path, student_dim: int) -> None:
    with _quiet():
        torch.onnx.export(
            _Normalised(head).eval(),
            (torch.randn(TRACE_ROWS, student_dim, generator=torch.Generator().manual_seed(0)),),
            path,
            input_names=[STUDENT],
            output_names=[ALIGNED],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _to_int8(precise: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(precise, path, per_channel=True, weight_type=QuantType.QInt8)


def _to_float16(precise: Path, path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    # lengths stay in float32, or the rows would not have length 1
    kept = [*DEFAULT_OP_BLOCK_LIST, "ReduceL2", "ReduceSumSquare", "Clip", "Max", "Div"]
    with _quiet():
        onnx.save(convert_float_to_float16(onnx.load(precise), keep_io_types=True, op_block_list=kept), path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' warnings are about their own inner workings; the check on real vectors says what counts."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
