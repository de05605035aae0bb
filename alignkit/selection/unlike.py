"""Texts unlike those that a head is fitted on: whole clusters of the student's space, held out together."""

from __future__ import annotations

import numpy as np
import torch

from alignkit.heads.local_mixture import nearest_means
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs
from alignkit.vectors import l2_normalize

CLUSTERS, SHARE = 20, 0.1
# size of the sample that the clusters are found on, and number of rows assigned to them at once
SAMPLE, CHUNK_ROWS = 8_192, 8_192


def cluster_rows(pairs: Pairs, seed: int = 0) -> np.ndarray:
    """Rows of whole clusters, drawn until they hold a tenth of the pairs: sorted int64.

    A random sample has near neighbours among the fitted pairs, which favours heads that memorise those.

    Args:
        pairs: to draw from.
        seed: of the clustering and of the draw.
    """
    sample = _unit(pairs, sample_rows(len(pairs), SAMPLE, seed).numpy())
    centres = nearest_means(sample, min(CLUSTERS, len(sample)), seed)
    starts = range(0, len(pairs), CHUNK_ROWS)
    chunks = (_unit(pairs, np.arange(start, min(start + CHUNK_ROWS, len(pairs)))) for start in starts)
    cluster = torch.cat([torch.cdist(chunk, centres).argmin(dim=1) for chunk in chunks]).numpy()
    drawn: list[int] = []
    for one in np.random.default_rng(seed).permutation(len(centres)):
        if np.isin(cluster, drawn).sum() >= SHARE * len(pairs):
            break
        drawn.append(int(one))
    return np.flatnonzero(np.isin(cluster, drawn))


def _unit(pairs: Pairs, rows: np.ndarray) -> torch.Tensor:
    return l2_normalize(torch.from_numpy(np.array(pairs.student[rows], dtype=np.float32)))
