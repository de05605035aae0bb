"""How many words two sentences share, which tells a paraphrase from a copy."""

from __future__ import annotations

from alignkit.sentences.normalise import words


def word_overlap(anchor: str, other: str) -> float:
    """The share of the distinct words of `other` that `anchor` has too, in [0, 1]; characters for Chinese.

    >>> word_overlap("Call Ann back on Friday", "On Friday, phone Ann")
    0.75
    """
    known, found = set(words(anchor)), set(words(other))
    return len(known & found) / len(found) if found else 0.0
