"""Texts and their keys: whoever asks for a key, each distinct text is hashed once an identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from alignkit.cache.keys import KEY, text_keys


class KeyedTexts(Sequence[str]):
    """A sequence of texts that remembers their keys; what it was asked once it does not compute again.

    Parts of the cache pass it on instead of a list, so that finding, embedding and reading a text hash it once.

    Args:
        texts: N texts, repetitions included.

    >>> texts = KeyedTexts(["a", "b", "a"])
    >>> texts.firsts().tolist(), texts.numbers().tolist(), list(texts.take(np.array([1])))
    ([0, 1], [0, 1, 0], ['b'])
    """

    def __init__(self, texts: Sequence[str]) -> None:
        number: dict[str, int] = {}
        count = len(texts)
        self._which = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int64, count)
        self._distinct = list(number)
        # digest of an identity -> keys of the distinct texts, and which of them are known
        self._keys: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def of(cls, texts: Sequence[str]) -> KeyedTexts:
        """The texts themselves where they are keyed already."""
        return texts if isinstance(texts, cls) else cls(texts)

    def __len__(self) -> int:
        return len(self._which)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._distinct[number] for number in self._which[at].tolist()]
        return self._distinct[self._which[at]]

    def firsts(self) -> np.ndarray:
        """Positions at which a text stands for the first time, ascending int64."""
        return np.sort(np.unique(self._which, return_index=True)[1])

    def numbers(self) -> np.ndarray:
        """For each text `(N,)` the row in `firsts()` at which its equal is."""
        _, firsts, inverse = np.unique(self._which, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(firsts))[inverse]

    def take(self, positions: np.ndarray) -> KeyedTexts:
        """The texts at some positions `(M,)`; keys that either of the two computes, both know."""
        if len(positions) == len(self) and np.array_equal(positions, np.arange(len(self))):
            return self
        part = KeyedTexts(())
        part._which, part._distinct, part._keys = self._which[positions], self._distinct, self._keys
        return part

    def keys(self, digest: bytes) -> np.ndarray:
        """Keys `(N,)` of dtype `KEY` under the identity with this digest."""
        if digest not in self._keys:
            count = len(self._distinct)
            self._keys[digest] = np.empty(count, dtype=KEY), np.zeros(count, dtype=bool)
        keys, known = self._keys[digest]
        if not known.all():
            new = np.unique(self._which[~known[self._which]])
            keys[new] = text_keys(digest, [self._distinct[number] for number in new.tolist()])
            known[new] = True
        return keys[self._which]
