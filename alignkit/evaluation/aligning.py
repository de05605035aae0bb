"""Student vectors through a head, in batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alignkit.heads.base import Part


@torch.inference_mode()
def align(head: Part, student: np.ndarray | Tensor, batch_rows: int = 4096) -> Tensor:
    """`(N, student_dim)` → what the part says of each, `(N, teacher_dim)` of a head, float32 on the CPU, in batches."""
    chunks = [
        head(torch.from_numpy(np.array(student[start : start + batch_rows], dtype=np.float32))).float()
        for start in range(0, len(student), batch_rows)
    ]
    return torch.cat(chunks)
