"""Whether a head is judged on what it was trained on, as far as its run can tell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.errors import DataError
from alignkit.evaluation.runs import (
    VECTOR_FINGERPRINTS,
    seen_in_training,
    text_fingerprints,
    training_fingerprints,
    vector_fingerprints,
)
from alignkit.evaluation.sets import Side
from alignkit.pairs.base import PairSplits
from alignkit.sentences.leaks import find_leaks

logger = logging.getLogger(__name__)

UNKNOWN = "what this head was trained on is not known"


@dataclass(frozen=True)
class Leaks:
    """What the check saw.

    Attributes:
        line: for the report.
        seen: how many queries the head was trained on; `None` where that is not known.
    """

    line: str
    seen: int | None


def check_leaks(queries: Side, run: Path | None, splits: PairSplits | None = None) -> Leaks:
    """Compare the queries with what the head was trained on, and with the training split beside them.

    The two may differ: another seed deals the same sentences anew, another file has other sentences. Only the
    fingerprints that `train` kept tell what the head has seen; the training split is looked through for
    near-duplicates.

    Args:
        queries: what the head is judged on.
        run: where its fingerprints are; `None` for a bare head.
        splits: what the queries are the test split of, if they are one.
    """
    seen, what = _seen(queries, run)
    said = UNKNOWN
    if seen is not None:
        said = f"{seen:,} of {len(queries):,} queries are among the {what} that this head was trained on"
        if seen:
            logger.warning("%s: the figures flatter the head", said)
    train, test = (splits.train.texts, splits.test.texts) if splits is not None else (None, None)
    near = _near(train, test, run) if train is not None and test is not None else None
    return Leaks("; ".join(part for part in (said, near) if part), seen)


def _seen(queries: Side, run: Path | None) -> tuple[int | None, str]:
    texts, vectors = training_fingerprints(run), training_fingerprints(run, VECTOR_FINGERPRINTS)
    if queries.texts is not None and texts is not None:
        return int(seen_in_training(queries.texts, texts).sum()), "sentences"
    if vectors is not None:
        return int(np.isin(vector_fingerprints(queries.student), vectors).sum()), "student vectors"
    return None, ""


def _near(train: Sequence[str], test: Sequence[str], run: Path | None) -> str:
    """What is nearly equal, and whether that training split is the one the head was trained on."""
    known = training_fingerprints(run)
    try:
        found = find_leaks(train, test)
    except DataError as error:
        logger.warning("%s", error)
        return f"in this data {error}"
    own = known is not None and bool(np.isin(text_fingerprints(train), known).all())
    whose = "" if own else " of this data, which need not be what the head was trained on"
    return (
        f"{len(found.near):,} of {found.test_checked:,} test texts compared have a near-duplicate among "
        f"{found.train_checked:,} training texts{whose} (character n-grams, Jaccard >= {found.threshold:g})"
    )
