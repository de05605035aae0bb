"""Which pairs are kept in memory, and how many of them make a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.placed_rows import bytes_to_place, place

# train and validation pairs up to this total size as float32 are held in main memory; larger ones are streamed from
# their files
IN_MEMORY_BYTES = 768 * 1024 * 1024
VALIDATION_BATCH = 256
# share of the smallest GPU's total memory, not of its free memory: where rows are kept determines their order, which
# must be the same in every process and after a resume
GPU_FRACTION = 0.4
# share of the GPU's free memory that a copy of stored vectors may take
FREE_FRACTION = 0.6


def fits(parts: Sequence[Pairs], device: torch.device) -> bool:
    """Whether all pairs of all parts can be kept on the device as float32."""
    needed = sum(4 * len(pairs) * (pairs.student_dim + pairs.teacher_dim) for pairs in parts)
    if device.type == "cuda":
        gpus = range(torch.cuda.device_count())
        return needed <= GPU_FRACTION * min(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus)
    return needed <= IN_MEMORY_BYTES


def validation_batch(batch_size: int, processes: int = 1) -> int:
    """Pairs of a validation batch in each process: at least as many as in a training batch.

    All processes together use the batch of a single one, so a loss that compares within a batch is the same.
    """
    return max(batch_size, -(-VALIDATION_BATCH // processes))


def count_batches(splits: PairSplits, batch_size: int, processes: int) -> tuple[int, int]:
    """Batches per process: of one training epoch, and of one validation."""
    train = -(-len(splits.train) // (processes * batch_size))
    return train, -(-len(splits.validation) // (processes * validation_batch(batch_size, processes)))


def placed(splits: PairSplits, device: torch.device) -> PairSplits:
    """The same pairs with a copy of training and validation vectors on a GPU that has room, where they are read once.

    The copy is as the vectors are stored: half the memory of float32 for float16 files.
    """
    parts = (splits.train, splits.validation)
    if device.type != "cuda" or not fits(parts, device):
        return splits
    sides = [vectors for pairs in parts for vectors in (pairs.student, pairs.teacher)]
    if bytes_to_place(sides) > FREE_FRACTION * torch.cuda.mem_get_info(device)[0]:
        return splits
    student, teacher, held_out_student, held_out_teacher = place(sides, device)
    return replace(
        splits,
        train=replace(splits.train, student=student, teacher=teacher),
        validation=replace(splits.validation, student=held_out_student, teacher=held_out_teacher),
    )
