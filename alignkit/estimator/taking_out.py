"""Takes pairs out of what a run kept: out of its sums, and out of what else tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from alignkit.errors import ConfigError, DataError
from alignkit.pairs.base import Pairs
from alignkit.pairs.vector_fingerprints import vector_fingerprints
from alignkit.runs.earlier_fit import EarlierFit, pair_fingerprints
from alignkit.runs.fingerprints import (
    FINGERPRINTS,
    VECTOR_FINGERPRINTS,
    seen_in_training,
    text_fingerprints,
    training_fingerprints,
)
from alignkit.setting_names import SIDES
from alignkit.training.solver_batches import SolverBatches


@dataclass(frozen=True)
class Forgotten:
    """Pairs that were taken out.

    Attributes:
        students: `(N, student_dim)` float32, their vectors.
        pairs: `(N,)` uint64, their fingerprints.
        fingerprints: file of the run → what of it tells of these pairs and of no others.
    """

    students: np.ndarray
    pairs: np.ndarray
    fingerprints: Mapping[str, np.ndarray]


def take_out(run: Path, earlier: EarlierFit, gone: Pairs) -> tuple[EarlierFit, Forgotten]:
    """What a run kept, without some of its pairs.

    Args:
        run: its folder.
        earlier: what it kept.
        gone: the pairs, with the vectors that the head was fitted on.

    Raises:
        ConfigError: if the run knows its pairs by texts, and these have none.
        DataError: if the head was not fitted on one of them, or on no others.
    """
    moments, space = earlier.ridge.kept.moments, earlier.head.kept.space
    widths = len(moments.student_mean if space is None else space.mean), len(moments.teacher_mean)
    for side, width in zip(SIDES, widths, strict=True):
        if (got := int(getattr(gone, side).shape[1])) != width:
            raise DataError(
                f"forget: holds {got}-d vectors of the {side}, the head of {run} was fitted on {width}-d ones; give "
                "those that it was fitted on"
            )
    prints = pair_fingerprints(gone)
    rest = _without(earlier.pairs, prints, run)
    if not len(rest):
        raise DataError(
            f"forget: these are all {len(prints):,} pairs of {run}, so that nothing would be left of it; delete it, "
            "and train on other pairs"
        )
    alone = ~np.isin(prints, rest)
    students = np.array(gone.student[:], dtype=np.float32)
    found = {VECTOR_FINGERPRINTS: vector_fingerprints(students)[alone]}
    texts = training_fingerprints(run)
    if texts is not None:
        if gone.texts is None:
            raise ConfigError(
                f"forget: {run} knows its pairs by their texts too; give forget.sentences=FILE, the sentences in the "
                "order of the rows"
            )
        if not (known := seen_in_training(gone.texts, texts)).all():
            row = int(np.flatnonzero(~known)[0])
            raise DataError(
                f"forget.sentences: the head of {run} was fitted on the vectors of row {row}, but not on its text; "
                "give the sentences in the order of the vectors"
            )
        found[FINGERPRINTS] = text_fingerprints(gone.texts)[alone]
    batches = SolverBatches(gone, device=torch.device("cpu"))
    head = replace(earlier.head, kept=earlier.head.kept.without_pairs(batches))
    same = earlier.ridge.kept is earlier.head.kept
    ridge = replace(earlier.ridge, kept=head.kept if same else earlier.ridge.kept.without_pairs(batches))
    return replace(earlier, head=head, ridge=ridge, pairs=rest), Forgotten(students, prints, found)


def _without(pairs: np.ndarray, gone: np.ndarray, run: Path) -> np.ndarray:
    """Fingerprints but for some of them, each taken out as often as it is among these."""
    values, counts = np.unique(pairs, return_counts=True)
    own, times = np.unique(gone, return_counts=True)
    if len(unknown := np.flatnonzero(~np.isin(gone, values))):
        raise DataError(
            f"forget: the head of {run} was not fitted on {len(unknown):,} of these {len(gone):,} pairs, row "
            f"{unknown[0]} first; give the very vectors of its training and validation pairs"
        )
    at = np.searchsorted(values, own)
    if (more := times > counts[at]).any():
        row = int(np.flatnonzero(gone == own[more][0])[counts[at][more][0]])
        raise DataError(
            f"forget: row {row} repeats a pair that the head of {run} was fitted on {counts[at][more][0]} time(s); "
            "give it as often"
        )
    counts[at] -= times
    return np.repeat(values, counts)
