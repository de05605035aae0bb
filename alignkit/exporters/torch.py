"""Plain torch: `align_head.pt`, a state dict that `torch.load(…, weights_only=True)` reads, and `run_config.json`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignkit.agreement import Tolerance
from alignkit.exporters.base import Job
from alignkit.heads.base import head_class
from alignkit.vectors import l2_normalize

OPTIONS: frozenset[str] = frozenset()
CARRIES_MODELS = False
WEIGHTS, CONFIG = "align_head.pt", "run_config.json"


def tolerance(job: Job) -> Tolerance:
    """The same numbers in the same operations."""
    return Tolerance(1e-6)


def write(job: Job, folder: Path) -> dict[str, Any]:
    """Both files."""
    # by way of memory: torch's own writer calls a full disk an internal error
    weights = io.BytesIO()
    torch.save(job.head.state_dict(), weights)
    (folder / WEIGHTS).write_bytes(weights.getbuffer())
    config = {
        "model": job.head.kind(),
        **job.head.arguments(),
        "input_dim": job.head.student_dim,
        "output_dim": job.head.teacher_dim,
        "student": job.artifact.student_identity,
        "teacher": job.artifact.teacher_identity,
        "metrics": job.artifact.metrics,
        "meta": job.artifact.meta,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return {}


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Build the head from the two files."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    head = head_class(config["model"])(**{name: config[name] for name in job.head.arguments()}).eval()
    head.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    with torch.inference_mode():
        return l2_normalize(head(torch.from_numpy(job.vectors))).numpy()
