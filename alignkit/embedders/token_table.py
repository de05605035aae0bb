"""Averages the rows of a table over the tokens of each text: sparse times dense, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alignkit.embedders.word_tokens import WordTokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenTable:
    """A tokenizer and a vector for each of its tokens.

    Args:
        rows: `(V, D)` float32.
        tokenizer: without truncation and padding; its ids are below V.
        dropped: a token that is left out of every text, such as the unknown one; None for none.
    """

    def __init__(self, rows: np.ndarray, tokenizer: Tokenizer, dropped: int | None = None) -> None:
        self.rows = rows
        self.tokenizer = tokenizer
        self.dropped = dropped
        self.tokens_of = WordTokens(tokenizer)

    def tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, concatenated, and the number of each text's: `(tokens,)` int32, `(N,)` int64."""
        tokens, counts = self.tokens_of(texts)
        if self.dropped is None or not (gone := tokens == self.dropped).any():
            return tokens, counts
        before = np.append(0, np.cumsum(gone))[np.append(0, np.cumsum(counts))]
        return tokens[~gone], counts - np.diff(before)

    def means(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The mean of each text's rows, `(N, D)` float32, and which texts have any token, `(N,)` bool."""
        from scipy.sparse import csr_array

        tokens, counts = self.tokens(texts)
        # row i of this matrix averages text i's tokens: the result is the same alone and in any batch
        weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
        average = csr_array((weights, tokens, np.append(0, np.cumsum(counts))), shape=(len(texts), len(self.rows)))
        return np.asarray(average @ self.rows, dtype=np.float32), counts > 0
