"""Texts made up out of others: parts of them, two in one, words left out, slips of the keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from alignkit.sentences.normalise import CJK, digest_of

# a word, or a Chinese or Japanese character, with the space before it
_WORD = re.compile(rf"\s*(?:[{CJK}]|[^\s{CJK}]+)")
_SPELLED = re.compile(rf"(?:(?![{CJK}\d_])\w){{4,}}")
LEFT_OUT = 0.2
# how often each text is taken for each one that is wanted: many come out as one that is there already
_TRIES = 4
_BESIDE = {
    key: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for place, key in enumerate(row)
}
Maker = Callable[[str, Sequence[str], np.random.Generator], str]


def make_up(texts: Sequence[str], count: int, seed: int, known: Iterable[str] = ()) -> list[str]:
    """New texts, each out of one or two of these; every one of these is taken about equally often.

    Args:
        texts: N, in any language.
        count: how many are wanted; short or few texts give fewer.
        seed: the same seed gives the same texts.
        known: others that none may equal but for case and punctuation, such as those that are tested.

    >>> made = make_up(["my parcel never arrived", "please cancel my order today"], 6, seed=0)
    >>> len(made), len(set(made))
    (6, 6)
    """
    rng, made = np.random.default_rng(seed), list[str]()
    seen = {digest_of(text) for some in ([""], texts, known) for text in some}
    makers, shares = list(SHARES), np.fromiter(SHARES.values(), dtype=float)
    for _ in range(_TRIES * -(-count // max(len(texts), 1))):
        kinds = rng.choice(len(makers), size=len(texts), p=shares / shares.sum())
        for row, kind in zip(rng.permutation(len(texts)).tolist(), kinds.tolist(), strict=True):
            if len(made) == count:
                return made
            text = makers[kind](texts[row], texts, rng)
            if (form := digest_of(text)) not in seen:
                seen.add(form)
                made.append(text)
    return made


def part_of(text: str, texts: Sequence[str], rng: np.random.Generator) -> str:
    """Two or more words that follow each other, but not all; empty where there are too few."""
    words = _WORD.findall(text)
    if len(words) < 3:
        return ""
    length = int(rng.integers(2, len(words)))
    start = int(rng.integers(0, len(words) - length + 1))
    return "".join(words[start : start + length]).strip()


def joined(text: str, texts: Sequence[str], rng: np.random.Generator) -> str:
    """The text and any other one behind it; empty if that is the same."""
    other = texts[int(rng.integers(len(texts)))]
    return "" if other == text else f"{text} {other}"


def without_words(text: str, texts: Sequence[str], rng: np.random.Generator) -> str:
    """About every fifth word is left out, and at least one; empty where there are too few."""
    words = _WORD.findall(text)
    if len(words) < 3:
        return ""
    gone = rng.random(len(words)) < LEFT_OUT
    gone[rng.integers(len(words))] = True
    return "".join(word for word, out in zip(words, gone, strict=True) if not out).strip()


def with_slip(text: str, texts: Sequence[str], rng: np.random.Generator) -> str:
    """In a longer word a letter is missing, doubled, exchanged with the next, or that of the key beside it.

    Empty where no word is long enough. The first letter stays, since people seldom miss it.
    """
    places = [found.span() for found in _SPELLED.finditer(text)]
    if not places:
        return ""
    start, end = places[rng.integers(len(places))]
    at = int(rng.integers(start + 1, end - 1))
    letter, after = text[at], text[at + 1]
    beside = _BESIDE.get(letter, letter)
    written = (after, 2 * letter + after, after + letter, beside[rng.integers(len(beside))] + after)
    return text[:at] + written[rng.integers(len(written))] + text[at + 2 :]


SHARES: dict[Maker, float] = {part_of: 0.45, joined: 0.3, without_words: 0.15, with_slip: 0.1}
