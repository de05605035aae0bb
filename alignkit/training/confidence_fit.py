"""Fits the estimate of a head's confidence in a query, on pairs that the head has not seen."""

from __future__ import annotations

import logging

import torch

from alignkit.heads.base import Head
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.retrieval import ranking_overlap
from alignkit.pairs.base import PairSplits
from alignkit.pairs.placed_rows import rows_on
from alignkit.training.batches import CHUNK_ROWS
from alignkit.vectors import top_k

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
NEIGHBOURS = 10
# below this a ranking of queries by the estimate is mostly chance
FEWEST_QUERIES = 100
MOST_QUERIES, MOST_CORPUS = 2_000, 20_000
# at most this many numbers (200 MB as float32), so that wide vectors do not use the memory that streaming saves
MOST_ELEMENTS = 50_000_000


@torch.inference_mode()
def fit_confidence(
    kept: Head, splits: PairSplits, seed: int = 0, device: torch.device | None = None
) -> ConfidenceEstimate | None:
    """Learn from what each validation sentence finds among the teacher's vectors of train + validation.

    Args:
        kept: the head before its refit, which has not seen the validation split; on the CPU.
        splits: train and validation pairs; the test split is not looked at.
        seed: of the samples, where there are more than 2,000 validation or 20,000 training pairs (fewer of vectors
            wider than 2,272).
        device: where neighbours are searched; `None` is the CPU.

    Returns:
        The part in evaluation mode; `None` (with a log line) if there are too few validation pairs.
    """
    if len(splits.validation) < FEWEST_QUERIES:
        logger.info(
            "confidence: not learned, %d validation pairs are too few; expected at least %d",
            len(splits.validation), FEWEST_QUERIES,
        )  # fmt: skip
        return None
    rows = sample_rows(len(splits.validation), MOST_QUERIES, seed).numpy()
    most = max(1, min(MOST_CORPUS, MOST_ELEMENTS // splits.train.teacher_dim - len(rows)))
    others = sample_rows(len(splits.train), most, seed).numpy()
    device = device or CPU
    student = rows_on(splits.validation.student, rows, CPU)
    teacher = rows_on(splits.validation.teacher, rows, device)
    corpus = torch.empty(len(others) + len(teacher), splits.train.teacher_dim, device=device)
    corpus[len(others) :] = teacher
    for start in range(0, len(others), CHUNK_ROWS):
        some = others[start : start + CHUNK_ROWS]
        corpus[start : start + len(some)] = rows_on(splits.train.teacher, some, device)
    itself = torch.arange(len(others), len(corpus))
    found, wanted = (
        top_k(query, corpus, NEIGHBOURS, exclude=itself)[1].cpu().numpy()
        for query in (kept(student).to(device), teacher)
    )
    part = ConfidenceEstimate(splits.train.student_dim)
    shares = torch.from_numpy(ranking_overlap(found, wanted, NEIGHBOURS)).float()
    part.fit(student, shares, rows_on(splits.train.student, others, CPU))
    return part.eval().requires_grad_(False)
