"""Tokenises many short texts word by word: nearly every word was seen before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACE = "\u2581"  # how a SentencePiece vocabulary writes a space
# the memory is cleared beyond this size
MOST_TOKENS = 250_000
LONGEST_TEXT = 2_000
# texts that show whether a tokenizer treats words one by one
PROBES = (
    "Reset my password, please!",
    "a b c",
    "It's 5 o'clock on 12/3, isn't it (no) ?",
    "Stra\u00dfe caf\u00e9 na\u00efve e\u0301 \u00c5ngstr\u00f6m",
    "\u4f60\u597d \u4e16\u754c \u6211\u7684\u5305\u88f9 x\u5728y",
    "\U0001f600 \U0001f469\u200d\U0001f4bb 3.5% #tag @you a-b_c",
    "iPhone15 USB-C IPv6 unbelievably internationalisation",
)

Split = Callable[[str], list[str]]


def words_apart(text: str) -> list[str]:
    """The words without the spaces between them."""
    return text.split(" ")


def words_with_their_space(text: str) -> list[str]:
    """Each word but the first with the space before it, as byte-level vocabularies have them."""
    return text.replace(" ", "\0 ").split("\0")


class WordTokens:
    """A tokenizer that caches words; the tokens equal the tokenizer's own.

    Most tokenizers have no token that spans a space, so a text's tokens are its words' tokens in sequence, but they do
    not exploit this: each text is processed as a whole. A text for which it may not hold (several spaces in a row,
    special tokens, a space sign) is treated as one word, and so is every text if the tokenizer does not work this way.

    Args:
        tokenizer: any; without truncation and padding.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._split, self._any_blank = _way_to_split(tokenizer)
        special = {token.content[:1] for token in tokenizer.get_added_tokens_decoder().values()}
        self._signs = ("  ", SPACE, "\0", *sorted(special)) if self._split else ("",)
        self._lock = threading.Lock()
        self._forget()

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, concatenated, and the number of tokens of each text.

        Returns:
            `(tokens,)` int32 and `(len(texts),)` int64.
        """
        split = self._split or words_apart
        words = [[text] if self._is_one_word(text) else split(text) for text in texts]
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
        # other blanks may join the space beside them
        return not self._any_blank and text.split() != text.split(" ")

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


def _way_to_split(tokenizer: Tokenizer) -> tuple[Split | None, bool]:
    """How a text splits into words that give its tokens, None if it does not; and whether any blank may be in it."""
    is_whole = tokenizer.pre_tokenizer is None
    is_bert = type(tokenizer.normalizer).__name__ == "BertNormalizer" and _begins_as_bert(tokenizer.pre_tokenizer)
    # without a pre-tokenizer, as for SentencePiece's BPE, only the vocabulary keeps tokens from spanning a space
    if is_whole and any(SPACE in token.lstrip(SPACE) or " " in token for token in tokenizer.get_vocab()):
        return None, False
    whole = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(PROBES), add_special_tokens=False)]
    for split in (words_apart, words_with_their_space):
        words = [split(probe) for probe in PROBES]
        found = tokenizer.encode_batch_fast(list(chain.from_iterable(words)), add_special_tokens=False)
        ids = iter([encoding.ids for encoding in found])
        if [[token for _ in own for token in next(ids)] for own in words] == whole:
            return split, is_bert or is_whole
    return None, False


def _begins_as_bert(pre_tokenizer: object) -> bool:
    """Whether it splits at every blank before anything else."""
    while type(pre_tokenizer).__name__ == "Sequence":
        pre_tokenizer = pre_tokenizer[0]  # type: ignore[index]
    return type(pre_tokenizer).__name__ == "BertPreTokenizer"


def _with_room(array: np.ndarray, length: int) -> np.ndarray:
    """The same array, or a copy in one at least twice as long, so that adding a word takes amortised constant time."""
    if length <= len(array):
        return array
    longer = np.zeros(max(length, 2 * len(array)), dtype=array.dtype)
    longer[: len(array)] = array
    return longer
