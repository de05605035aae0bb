"""NumPy alone: the weights as `.npz` and a few lines of Python that apply them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from alignkit import __version__
from alignkit.agreement import Tolerance
from alignkit.errors import ArtifactError
from alignkit.exporters.base import Job
from alignkit.exporters.dense import affine_layer
from alignkit.exporters.graph import trace
from alignkit.exporters.numpy_lines import helpers_used, numpy_lines

OPTIONS: frozenset[str] = frozenset()
CARRIES_MODELS = False
WEIGHTS, SCRIPT = "head.npz", "apply_head.py"
TIMEOUT_S = 600

_TEMPLATE = '''"""Map student vectors to the teacher's space; needs NumPy alone.

    python {script} student.npy aligned.npy

Written by alignkit {version} from a head of kind "{kind}".
"""
import math
import sys
from pathlib import Path

import numpy as np

WEIGHTS = dict(np.load(Path(__file__).with_name("{weights}")))

{helpers}
def apply_head(student):
    """(N, {student_dim}) student vectors -> (N, {teacher_dim}) float32 in the teacher's space, rows of length 1."""
    student = np.asarray(student, dtype=np.float32)
{lines}
    return aligned / np.maximum(np.linalg.norm(aligned, axis=-1, keepdims=True), 1e-12)


if __name__ == "__main__":
    np.save(sys.argv[2], apply_head(np.load(sys.argv[1])))
'''


def tolerance(job: Job) -> Tolerance:
    """NumPy sums in another order."""
    return Tolerance(2e-5)


def write(job: Job, folder: Path) -> dict[str, Any]:
    """The weights, the script, and for a head that is one matrix `W.npy` `(student_dim, teacher_dim)` and `b.npy`."""
    layer = affine_layer(job.head)
    if layer is not None:
        arrays = {"W": np.ascontiguousarray(layer.weight.T.numpy()), "b": layer.bias.numpy()}
        lines = ['aligned = student @ WEIGHTS["W"] + WEIGHTS["b"]']
        np.save(folder / "W.npy", arrays["W"])
        np.save(folder / "b.npy", arrays["b"])
    else:
        graph = trace(job.head)
        arrays = {name: array.numpy() for name, array in graph.arrays.items()}
        lines = [*numpy_lines(graph, lambda name: f'WEIGHTS["{name}"]'), f"aligned = {graph.output}"]
    np.savez(folder / WEIGHTS, **arrays)  # type: ignore[arg-type]
    script = _TEMPLATE.format(
        script=SCRIPT,
        version=__version__,
        kind=job.head.kind(),
        weights=WEIGHTS,
        helpers=helpers_used(lines),
        student_dim=job.head.student_dim,
        teacher_dim=job.head.teacher_dim,
        lines="\n".join(f"    {line}" for line in lines),
    )
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    return {}


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Run the script in a process of its own that sees neither this folder's packages nor the user's settings."""
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "student.npy", Path(scratch) / "aligned.npy"
        np.save(given, job.vectors)
        command = [sys.executable, "-I", str(folder / SCRIPT), str(given), str(made)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=TIMEOUT_S)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise ArtifactError(f"{SCRIPT} fails ({lines[-1] if lines else done.returncode}); use another format")
        return np.load(made, allow_pickle=False)
