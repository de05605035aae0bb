"""What each row finds of itself: whether a query comes upon its own teacher vector first, which needs no judgements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from alignkit.evaluation.columns import Column
from alignkit.evaluation.table_rows import Figures, RowName
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.self_retrieval import self_retrieval
from alignkit.pairs.evaluation_set import EvaluationSet

MOST_QUERIES, MOST_CORPUS = 1_000, 10_000
# of float32, so that wide vectors take no more memory and time than narrow ones
MOST_ELEMENTS = 8_000_000


def self_figures(
    test: EvaluationSet, queries: Mapping[RowName, Tensor], seed: int = 0, device: torch.device | None = None
) -> dict[RowName, Figures]:
    """`self_mrr` and `self_recall@1` of every row that searches the teacher's index.

    Args:
        test: queries and corpus; of many a seeded sample.
        queries: row → `(Q, teacher_dim)`, rows of length 1 that it searches with; `teacher` is among them.
        seed: of the samples.
        device: where it is computed; `None` is the CPU.
    """
    width = queries[RowName.TEACHER].shape[1]
    asked = sample_rows(len(test.queries), MOST_QUERIES, seed)
    most = max(2, min(MOST_CORPUS, MOST_ELEMENTS // width))
    others = np.setdiff1d(sample_rows(len(test.corpus), most, seed).numpy(), test.itself[asked.numpy()])
    own = queries[RowName.TEACHER][asked]
    corpus = torch.cat([own, torch.from_numpy(test.corpus.teacher[others])]).to(device or own.device)
    itself = torch.arange(len(own))
    told = {
        name: self_retrieval(own[asked].to(corpus.device), corpus, itself).figures() for name, own in queries.items()
    }
    return {name: {Column(key): value for key, value in figures.items()} for name, figures in told.items()}
