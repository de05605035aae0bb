"""Whether a head is judged on what it was trained on, as far as its run tells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alignkit.errors import DataError
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.evaluation_set import Side
from alignkit.pairs.vector_fingerprints import (
    among,
    are_among_sorted,
    fingerprint_blocks,
    vector_fingerprints,
)
from alignkit.runs.fingerprints import (
    VECTOR_FINGERPRINTS,
    seen_in_training,
    text_fingerprints,
    training_fingerprints,
)
from alignkit.sentences.leaks import find_leaks
from alignkit.vectors import top_k

logger = logging.getLogger(__name__)

# one text embedded in two batches, or stored in half precision, differs by less
NEARLY_EQUAL = 0.9999
# of the test pairs: more than these, and the figures say little
MOST_NEAR = 0.05
MOST_CHECKED, MOST_AGAINST = 1_000, 20_000
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
    said = UNKNOWN if seen is None else _told(seen, len(queries), what)
    near = _near(splits, run) if splits is not None else None
    return Leaks("; ".join(part for part in (said, near) if part), seen)


def check_against(queries: Side, splits: PairSplits) -> Leaks:
    """The same for a head whose training pairs are at hand: they are compared by their vectors."""
    asked = vector_fingerprints(queries.student)
    seen = np.zeros(len(asked), dtype=bool)
    for part in (splits.train, splits.validation):
        for _, prints in fingerprint_blocks(part.student):
            seen |= among(asked, prints)
    return Leaks(_told(int(seen.sum()), len(queries), "student vectors"), int(seen.sum()))


def _told(seen: int, asked: int, what: str) -> str:
    said = f"{seen:,} of {asked:,} queries are among the {what} that this head was trained on"
    if seen:
        logger.warning("%s: the figures flatter the head", said)
    return said


def _seen(queries: Side, run: Path | None) -> tuple[int | None, str]:
    texts, vectors = training_fingerprints(run), training_fingerprints(run, VECTOR_FINGERPRINTS)
    if queries.texts is not None and texts is not None:
        return int(seen_in_training(queries.texts, texts).sum()), "sentences"
    if vectors is not None:
        return int(among(vector_fingerprints(queries.student), vectors).sum()), "student vectors"
    return None, ""


def leaks_of_splits(splits: PairSplits) -> str:
    """Compare the test split with what a head is about to be trained on, by texts or, without them, by vectors.

    Returns:
        One line for the report.

    Raises:
        DataError: if a test sentence, or a pair of vectors of the test split, is in the training split too.
    """
    train, test = [splits.train, splits.validation], splits.test
    if splits.train.texts is not None and test.texts is not None:
        return find_leaks([text for part in train for text in part.texts or ()], test.texts).line()
    return find_vector_leaks(train, test)


def find_vector_leaks(train: Sequence[Pairs], test: Pairs) -> str:
    """The check where nobody knows the texts: all pairs for equality, a bounded sample for near-equality.

    Equal are pairs whose student vectors and teacher vectors both have equal fingerprints: a student that ignores the
    order of words gives different texts one vector.

    Args:
        train: parts of what the head is trained on.
        test: what it is judged on.

    Returns:
        One line for the report.

    Raises:
        DataError: if a pair of the test split is in the training split too.
    """
    of_test = vector_fingerprints(test.student)
    known = np.unique(of_test)
    rows_of = [_rows_among(part.student, known) for part in train]
    if any(map(len, rows_of)):
        of_students, of_teachers = (
            np.concatenate([
                vector_fingerprints(np.asarray(getattr(part, side)[rows]))
                for part, rows in zip(train, rows_of, strict=True)
            ])
            for side in ("student", "teacher")
        )  # fmt: skip
        shared = np.flatnonzero(np.isin(of_test, of_students))
        equal = shared[np.isin(vector_fingerprints(np.asarray(test.teacher[shared])), of_teachers)]
        if len(equal):
            raise DataError(
                f"{len(equal):,} of {len(test):,} test pairs are in the training split too, the first is test row "
                f"{equal[0]}; take other test files, or give none: a share of the rows is then held out"
            )
    whole = max(train, key=len)
    rows, against = sample_rows(len(test), MOST_CHECKED, 0).numpy(), sample_rows(len(whole), MOST_AGAINST, 0).numpy()
    near = np.ones(len(rows), dtype=bool)
    for side in ("student", "teacher"):
        parts = (getattr(test, side)[rows], getattr(whole, side)[against])
        asked, corpus = (torch.from_numpy(np.asarray(part, dtype=np.float32)) for part in parts)
        near &= (top_k(asked, corpus, 1)[0][:, 0] >= NEARLY_EQUAL).numpy()
    if near.sum() > MOST_NEAR * len(rows):
        logger.warning(
            "%s of %s test pairs compared are nearly equal to training pairs: the figures flatter the head; leave "
            "out one of each",
            f"{near.sum():,}",
            f"{len(rows):,}",
        )
    return (
        f"no test pair is in the training split; {near.sum():,} of {len(rows):,} test pairs compared are nearly equal "
        f"to one of {len(against):,} training pairs (cosine >= {NEARLY_EQUAL:g} on both sides)"
    )


def _rows_among(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Rows whose fingerprints are among `known` `(K,)`; both ascending."""
    found = [at + np.flatnonzero(are_among_sorted(own, known)) for at, own in fingerprint_blocks(vectors)]
    return np.concatenate([np.zeros(0, np.int64), *found])


def _near(splits: PairSplits, run: Path | None) -> str:
    """What is nearly equal, and whether that training split is the one the head was trained on."""
    train, test = splits.train.texts, splits.test.texts
    try:
        if train is None or test is None:
            return f"in this data {find_vector_leaks([splits.train], splits.test)}"
        found = find_leaks(train, test)
    except DataError as error:
        logger.warning("%s", error)
        return f"in this data {error}"
    known = training_fingerprints(run)
    own = known is not None and bool(np.isin(text_fingerprints(train), known).all())
    whose = "" if own else " of this data, which need not be what the head was trained on"
    return (
        f"{len(found.near):,} of {found.test_checked:,} test texts compared have a near-duplicate among "
        f"{found.train_checked:,} training texts{whose} (character n-grams, Jaccard >= {found.threshold:g})"
    )
