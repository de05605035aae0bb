"""What there is to choose from, and what need not be chosen: read once, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from alignkit.cache import KeyedTexts, VectorCache
from alignkit.choosing.text_sample import TextSample
from alignkit.sentences.normalise import digest_of

# distinct texts that are looked at: so many, or so many times the budget
MOST, TIMES_BUDGET = 100_000, 4
# of those that are embedded already a sample says where they lie
MOST_COVERED = 20_000
_AT_ONCE = 10_000


@dataclass(frozen=True)
class TeachersCache:
    """What the vector cache holds of a teacher.

    Attributes:
        cache: open.
        identity: of the teacher's vectors.
    """

    cache: VectorCache
    identity: Mapping[str, Any]

    def look(self, texts: KeyedTexts) -> tuple[np.ndarray, np.ndarray]:
        """`(N,)` bool each: which texts have a vector, and which the teacher could not embed."""
        cached = np.ones(len(texts), dtype=bool)
        cached[self.cache.missing(self.identity, texts)] = False
        refused = np.zeros(len(texts), dtype=bool)
        refused[list(self.cache.quarantined(self.identity, texts))] = True
        return cached, refused & ~cached


@dataclass
class Candidates:
    """The texts of a file or of several, apart by what the teacher knows of them.

    Attributes:
        new: what it may be asked for.
        cached: what the cache holds its vectors of.
        learnt: what the head was trained on.
        refused: what the teacher could not embed when it was asked.
    """

    new: TextSample
    cached: TextSample = field(default_factory=lambda: TextSample(MOST_COVERED))
    learnt: TextSample = field(default_factory=lambda: TextSample(MOST_COVERED))
    refused: TextSample = field(default_factory=lambda: TextSample(MOST_COVERED))

    @property
    def read(self) -> int:
        """All texts."""
        return sum(one.read for one in (self.new, self.cached, self.learnt, self.refused))


def read_candidates(
    texts: Iterable[str], budget: int, *, learnt: np.ndarray | None = None, teacher: TeachersCache | None = None,
    seed: int = 0,
) -> Candidates:  # fmt: skip
    """Read texts, repetitions included.

    Args:
        texts: of any number, none of them blank.
        budget: of texts to choose.
        learnt: fingerprints of the texts that the head was trained on; see `runs.fingerprints.text_fingerprints`.
        teacher: whose cached vectors cost nothing.
        seed: of the sample that is kept of many texts.
    """
    found = Candidates(TextSample(max(MOST, TIMES_BUDGET * budget), seed))
    known = np.empty(0, dtype=np.uint64) if learnt is None else np.unique(learnt)
    stream = iter(texts)
    while some := list(islice(stream, _AT_ONCE)):
        left = KeyedTexts(some)
        digests = [digest_of(text) for text in some]
        is_learnt = np.isin(np.frombuffer(b"".join(digests), dtype="<u8"), known)
        is_cached = is_refused = np.zeros(len(some), dtype=bool)
        if teacher is not None:
            is_cached, is_refused = teacher.look(left)
        for row, digest in enumerate(digests):
            where = (
                found.learnt if is_learnt[row] else found.cached if is_cached[row]
                else found.refused if is_refused[row] else found.new
            )  # fmt: skip
            where.add(some[row], digest)
    return found
