"""Tokens of many short texts, word by word: nearly every word was seen before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACE = "\u2581"  # how a SentencePiece vocabulary writes a space
MOST_TOKENS = 2_000_000
LONGEST_TEXT = 2_000


class WordTokens:
    """A SentencePiece BPE tokenizer with a memory for words; the tokens are the same as the tokenizer's own.

    In such a vocabulary no token reaches over a space into the next word, so that a text's tokens are its words' tokens
    one after the other. The tokenizer itself does not use this: it merges each text as a whole. A text for which it
    does not hold (several spaces in a row, special tokens, a space sign) is taken as one word.

    Args:
        tokenizer: with a normalizer that puts a space sign before the text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        words_are_apart = not any(SPACE in token.lstrip(SPACE) for token in tokenizer.get_vocab())
        special = {token.content[:1] for token in tokenizer.get_added_tokens_decoder().values()}
        self._signs = ("  ", SPACE, *sorted(special)) if words_are_apart else ("",)
        self._forget()

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, one text after the other, and how many each text has.

        Returns:
            `(tokens,)` int32 and `(len(texts),)` int64.
        """
        words = [[text] if self._is_one_word(text) else text.split(" ") for text in texts]
        self._learn(set(chain.from_iterable(words)))
        words_in = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        ids = np.fromiter(
            map(self._id_of.__getitem__, chain.from_iterable(words)), dtype=np.int64, count=int(words_in.sum())
        )
        starts, lengths = self._bounds[ids], self._bounds[ids + 1] - self._bounds[ids]
        # where each word's tokens lie in the memory, minus where they shall lie in the result
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
        self._tokens = np.empty(0, dtype=np.int32)
        self._bounds = np.zeros(1, dtype=np.int64)

    def _learn(self, words: set[str]) -> None:
        if len(self._tokens) > MOST_TOKENS:
            self._forget()
        new = list(words - self._id_of.keys())
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(new, add_special_tokens=False)]
        lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        added = np.fromiter(chain.from_iterable(tokens), dtype=np.int32, count=int(lengths.sum()))
        self._id_of.update(zip(new, range(len(self._id_of), len(self._id_of) + len(new)), strict=True))
        self._tokens = np.concatenate([self._tokens, added])
        self._bounds = np.concatenate([self._bounds, self._bounds[-1] + np.cumsum(lengths)])
