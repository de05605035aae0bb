"""Whether test sentences were seen in training: equal ones are an error, near-duplicates are counted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.errors import DataError
from alignkit.sentences.near_duplicates import THRESHOLD, find_near_duplicates
from alignkit.sentences.normalise import normalise_text

MOST_NEAR_CHECKED = 5_000
MOST_NEAR_AGAINST = 200_000


@dataclass(frozen=True)
class LeakReport:
    """The check's result.

    Attributes:
        near: `(train row, test row, similarity)`, the nearest for each test text that has near-duplicates.
        threshold: the similarity of near-duplicates (see `find_near_duplicates`).
        test_checked: number of test texts compared for near-duplicates; all were compared for equality.
        train_checked: number of training texts that these were compared with.
    """

    near: tuple[tuple[int, int, float], ...]
    threshold: float
    test_checked: int
    train_checked: int

    def line(self) -> str:
        """One line for a report."""
        return (
            f"no test text is in training; {len(self.near):,} of {self.test_checked:,} compared test texts have a "
            f"near-duplicate among {self.train_checked:,} training texts (character n-grams, Jaccard >= "
            f"{self.threshold:g})"
        )


def find_leaks(
    train_texts: Sequence[str],
    test_texts: Sequence[str],
    threshold: float = THRESHOLD,
) -> LeakReport:
    """Compare test and training sentences: all for equality, a bounded number for near-duplicates.

    Beyond 5,000 test and 200,000 training texts, a sample is compared for near-duplicates; it depends on the texts
    alone, so two runs compare the same ones.

    Args:
        train_texts: the texts the head is fitted on.
        test_texts: the texts it is tested on.
        threshold: Jaccard similarity of character n-grams at and above which two texts are near-duplicates.

    Raises:
        DataError: if a test text is in training too (case, width, punctuation and spacing do not count).

    >>> find_leaks(["book a room for Monday", "call me back"], ["book a room for  Mondays"]).near
    ((0, 0, 0.875),)
    """
    seen = {normalise_text(text): text for text in train_texts}
    equal = [text for text in test_texts if normalise_text(text) in seen]
    if equal:
        raise DataError(
            f"{len(equal)} of {len(test_texts)} test texts are in the training split too, the first is {equal[0]!r} "
            f"({seen[normalise_text(equal[0])]!r}); split by group, as python -m alignkit.build does"
        )
    train_rows = _some(train_texts, MOST_NEAR_AGAINST)
    test_rows = _some(test_texts, MOST_NEAR_CHECKED)
    if not len(train_rows) or not len(test_rows):
        return LeakReport((), threshold, len(test_rows), len(train_rows))
    rows, columns, similarity = find_near_duplicates(
        [test_texts[row] for row in test_rows], [train_texts[row] for row in train_rows], threshold
    )
    order = np.lexsort((columns, -similarity, rows))
    _, first = np.unique(rows[order], return_index=True)
    near = tuple((int(train_rows[columns[at]]), int(test_rows[rows[at]]), float(similarity[at])) for at in order[first])
    return LeakReport(near, threshold, len(test_rows), len(train_rows))


def _some(texts: Sequence[str], most: int) -> np.ndarray:
    """Rows of all texts, or of the `most` with the smallest hashes, ascending."""
    if len(texts) <= most:
        return np.arange(len(texts))
    keys = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts]
    return np.array(sorted(sorted(range(len(texts)), key=keys.__getitem__)[:most]), dtype=np.int64)
