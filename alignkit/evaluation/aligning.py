"""Student vectors through a head, in batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alignkit.heads.base import Part
from alignkit.pairs.placed_rows import rows_on


@torch.inference_mode()
def align(
    head: Part, student: np.ndarray | Tensor, batch_rows: int = 4096, device: torch.device | None = None
) -> Tensor:
    """`(N, student_dim)` → what the part says of each, `(N, teacher_dim)` of a head, float32, in batches.

    Args:
        head: on the device.
        student: `(N, student_dim)`.
        batch_rows: rows at once.
        device: where it is computed, and stays; `None` is the CPU.
    """
    device = device or torch.device("cpu")
    chunks = [
        head(rows_on(student, slice(start, start + batch_rows), device)).float()
        for start in range(0, len(student), batch_rows)
    ]
    return torch.cat(chunks)
