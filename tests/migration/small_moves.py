"""A small move: a linear head, what it makes of vectors, and a way to interrupt."""

import numpy as np
import torch

from alignkit.artifact import Artifact, save_head
from alignkit.heads.linear import LinearHead

ROWS, STUDENT_DIM, TEACHER_DIM = 1000, 8, 12


def artifact_of(seed=0, **parts):
    torch.manual_seed(seed)
    return Artifact(
        {"query_head": LinearHead(STUDENT_DIM, TEACHER_DIM).eval().requires_grad_(False), **parts}, {"model": "tiny"}
    )


def save_demo_head(demo, folder):
    """A head that is not fitted, from the demo's student to its teacher."""
    torch.manual_seed(0)
    about = {name: getattr(demo.origin, name) for name in ("student_identity", "teacher_identity")}
    save_head(LinearHead(256, 384).eval(), folder, **about)


def expected(vectors, artifact):
    aligned = artifact.head(torch.from_numpy(np.asarray(vectors, dtype=np.float32)))
    return torch.nn.functional.normalize(aligned, dim=1).numpy()


class Stopped(Exception):
    pass


def stop_at(rows):
    """What `progress=` takes: raises `Stopped` once so many rows are done."""

    def progress(done, total):
        if done >= rows:
            raise Stopped

    return progress
