"""Tokenises many short texts word by word: nearly every word was seen before."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACE = "\u2581"  # how a SentencePiece vocabulary writes a space
# the memory is cleared beyond this size
MOST_TOKENS = 250_000
LONGEST_TEXT = 2_000


class WordTokens:
    """A SentencePiece BPE tokenizer that caches words; the tokens equal the tokenizer's own.

    In such a vocabulary no token spans a space, so a text's tokens are its words' tokens in sequence. The tokenizer
    itself does not exploit this: it merges each text as a whole. A text for which this does not hold (several spaces in
    a row, special tokens, a space sign) is treated as one word.

    Args:
        tokenizer: with a normalizer that prepends a space sign to the text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        words_are_apart = not any(SPACE in token.lstrip(SPACE) for token in tokenizer.get_vocab())
        special = {token.content[:1] for token in tokenizer.get_added_tokens_decoder().values()}
        self._signs = ("  ", SPACE, *sorted(special)) if words_are_apart else ("",)
        self._lock = threading.Lock()
        self._forget()

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, concatenated, and the number of tokens of each text.

        Returns:
            `(tokens,)` int32 and `(len(texts),)` int64.
        """
        words = [[text] if self._is_one_word(text) else text.split(" ") for text in texts]
        with self._lock:
            self._learn(chain.from_iterable(words))
            return self._look_up(words)

    def _look_up(self, words: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        words_in = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        ids = np.fromiter(
            map(self._id_of.__getitem__, chain.from_iterable(words)), dtype=np.int64, count=int(words_in.sum())
        )
        starts, lengths = self._bounds[ids], self._bounds[ids + 1] - self._bounds[ids]
        # where each word's tokens start in the cache, minus where they start in the result
        ends = np.append(0, np.cumsum(lengths))
        places = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
        return self._tokens[places], np.diff(ends[np.append(0, np.cumsum(words_in))])

    def _is_one_word(self, text: str) -> bool:
        if len(text) > LONGEST_TEXT or text[:1] == " " or text[-1:] == " ":
            return True
        for sign in self._signs:  # noqa: SIM110 -- any() with a generator takes three times as long
            if sign in text:
                return True
        return False

    def _forget(self) -> None:
        self._id_of: dict[str, int] = {}
        # word i's tokens are `_tokens[_bounds[i] : _bounds[i + 1]]`; the rest is spare capacity
        self._tokens = np.empty(1024, dtype=np.int32)
        self._bounds = np.zeros(1024, dtype=np.int64)

    def _learn(self, words: Iterable[str]) -> None:
        if self._bounds[len(self._id_of)] > MOST_TOKENS:
            self._forget()
        # iterates over the words; `words - known` would iterate over all known words
        new = [word for word in dict.fromkeys(words) if word not in self._id_of]
        if not new:
            return
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(new, add_special_tokens=False)]
        ends = np.cumsum(np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens)))
        count, used = len(self._id_of), int(self._bounds[len(self._id_of)])
        self._tokens = _with_room(self._tokens, used + int(ends[-1]))
        self._tokens[used : used + ends[-1]] = np.fromiter(chain.from_iterable(tokens), dtype=np.int32)
        self._bounds = _with_room(self._bounds, count + len(new) + 1)
        self._bounds[count + 1 : count + len(new) + 1] = used + ends
        self._id_of.update(zip(new, range(count, count + len(new)), strict=True))


def _with_room(array: np.ndarray, length: int) -> np.ndarray:
    """The same array, or a copy in one at least twice as long, so that adding a word takes amortised constant time."""
    if length <= len(array):
        return array
    longer = np.zeros(max(length, 2 * len(array)), dtype=array.dtype)
    longer[: len(array)] = array
    return longer
