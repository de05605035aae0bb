"""Do two sets of vectors agree? What is written for another program is held against the head itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from alignkit.errors import ArtifactError
from alignkit.vectors import cosine as cosine_of
from alignkit.vectors import top_k

OVERLAP_K = 10


@dataclass(frozen=True)
class Tolerance:
    """How far a format may be from the head.

    Attributes:
        difference: largest difference of any number of the normalised vectors.
        cosine: smallest cosine of any vector with the head's.
    """

    difference: float = 1e-5
    cosine: float = 0.99999


def compare(expected: np.ndarray, got: np.ndarray, allowed: Tolerance) -> dict[str, Any]:
    """Largest difference and smallest cosine of two sets of normalised vectors `(N, D)`.

    Raises:
        ArtifactError: if the shapes differ, or a tolerance is passed.
    """
    if expected.shape != got.shape:
        raise ArtifactError(f"what was written gives vectors of shape {got.shape}, the head {expected.shape}")
    difference = float(np.abs(expected - got).max())
    cosine = float(cosine_of(torch.from_numpy(expected).double(), torch.from_numpy(got).double()).min())
    if not (difference <= allowed.difference and cosine >= allowed.cosine):
        raise ArtifactError(
            f"what was written does not agree with the head: largest difference {difference:.3g} (allowed "
            f"{allowed.difference:g}), smallest cosine {cosine:.6f} (allowed {allowed.cosine:g}); it was not kept"
        )
    return {
        "largest_difference": difference,
        "smallest_cosine": cosine,
        "tolerance": {"largest_difference": allowed.difference, "smallest_cosine": allowed.cosine},
    }


def kept_overlap(expected: np.ndarray, got: np.ndarray) -> float:
    """Of the ten vectors nearest to each in `expected`, the share that the same row of `got` finds there too."""
    rows = np.arange(len(expected))
    k = min(OVERLAP_K, len(expected) - 1)
    if k < 1:
        return 1.0
    wanted = top_k(expected, expected, k, exclude=rows)[1]
    found = top_k(got, expected, k, exclude=rows)[1]
    return float((wanted.unsqueeze(2) == found.unsqueeze(1)).any(dim=2).double().mean())
