"""A head with the student that was trained with it, in a folder that `load_head` reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from alignkit.agreement import Tolerance
from alignkit.aligned import head_for, student_beside
from alignkit.artifact import load_artifact, save_artifact
from alignkit.embedders.distilled import is_distilled
from alignkit.exporters.base import Job
from alignkit.student_files import STUDENT
from alignkit.vectors import l2_normalize

# the same numbers in the same operations
SAME = Tolerance(1e-6)


def put_head(job: Job, folder: Path) -> None:
    """Write `head/`, and `student/` if one was trained with it."""
    save_artifact(job.artifact, folder / "head")
    if is_distilled(job.artifact.student_identity):
        shutil.copytree(student_beside(job.artifact, job.origin), folder / STUDENT)


def apply_head(job: Job, folder: Path) -> np.ndarray:
    """Load the head as saved and apply it: `(N, teacher_dim)`, L2-normalised."""
    # as the job does it: numbers in half precision, computed with in float32
    head = head_for(load_artifact(folder), job.role).float()
    with torch.inference_mode():
        return l2_normalize(head(torch.from_numpy(job.vectors))).numpy()
