"""A uniform sample of the distinct texts of a stream of any length, in memory that is bounded by the sample."""

from __future__ import annotations

import numpy as np

from alignkit.sentences.normalise import digest_of

_BITS = 64
_MASK = (1 << _BITS) - 1


class TextSample:
    """Keeps the distinct texts with the lowest seeded hashes, and how often each came.

    Each distinct text is kept with the same probability, however often it comes. One that is kept in the end was kept
    from the first time on, so that its count is exact. Texts that differ in case, width, punctuation or spacing only
    count as one; the first stands for them.

    Args:
        most: texts that are kept.
        seed: another one keeps other texts.

    Source: bottom-k sketches, Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007.

    >>> sample = TextSample(most=10)
    >>> for text in ("Hello!", "bye", "hello"):
    ...     sample.add(text)
    >>> sample.texts, sample.counts.tolist(), sample.distinct
    (['Hello!', 'bye'], [2, 1], 2)
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self._most, self._shift = most, (seed + 1) * 0x9E3779B97F4A7C15
        # hash -> the text, how often it came, where it came first
        self._kept: dict[int, list] = {}
        self._limit = _MASK + 1
        self.read = 0

    def add(self, text: str, digest: bytes | None = None) -> None:
        """Read one more text; `digest` is its `digest_of` where that is known."""
        self.read += 1
        place = _mixed(int.from_bytes(digest or digest_of(text), "little") + self._shift)
        if place in self._kept:
            self._kept[place][1] += 1
        elif place < self._limit:
            self._kept[place] = [text, 1, self.read]
            if len(self._kept) > 2 * self._most:
                self._drop()

    @property
    def texts(self) -> list[str]:
        """Those that are kept, in the order in which they came first."""
        return [one[0] for one in self._ordered()]

    @property
    def counts(self) -> np.ndarray:
        """How often each of them came, `(N,)` int64."""
        return np.array([one[1] for one in self._ordered()], dtype=np.int64)

    @property
    def distinct(self) -> int:
        """Number of distinct texts that were read; an estimate where not all are kept.

        Source: Bar-Yossef, Jayram, Kumar, Sivakumar and Trevisan, Counting distinct elements in a data stream, RANDOM
        2002.
        """
        self._drop()
        if self._limit > _MASK:
            return len(self._kept)
        return round((len(self._kept) - 1) * (_MASK + 1) / self._limit)

    @property
    def is_whole(self) -> bool:
        """Whether every distinct text is kept."""
        return self.distinct == len(self._kept)

    def _ordered(self) -> list[list]:
        self._drop()
        return sorted(self._kept.values(), key=lambda one: one[2])

    def _drop(self) -> None:
        """Keep no more than was asked for."""
        if len(self._kept) > self._most:
            places = np.fromiter(self._kept, dtype=np.uint64, count=len(self._kept))
            self._limit = int(np.partition(places, self._most)[self._most])
            self._kept = {place: one for place, one in self._kept.items() if place < self._limit}


def _mixed(digest: int) -> int:
    """A hash of a hash: the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    mixed = digest & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)
