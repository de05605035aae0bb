"""Which texts share rare words: evidence of what their vectors should be like that no embedding model had a hand in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import scipy.sparse

# scripts without spaces are read character by character
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_READ_CHARACTERS = 2000
_COMMON_SHARE = 0.1
_ROWS_AT_ONCE = 512
_LEAST_SHARED = 0.18
_MOST_PAIRS = 100_000


def pairs_that_share_words(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of texts whose rare words agree, those that agree most first.

    Args:
        texts: N.

    Returns:
        For each of P pairs its first text, its second one (further back), and how much of both is shared: the cosine
        of their words weighted by rarity, 0.18 to 1. Words of more than a tenth of the texts count as not shared.

    >>> first, second, shared = pairs_that_share_words(["red fox", "blue whale", "the red fox"] + ["the end"] * 8)
    >>> (int(first[-1]), int(second[-1]))
    (0, 2)
    """
    words = _weighted([set(_WORD.findall(text[:_READ_CHARACTERS].lower())) for text in texts])
    found = []
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        shared = (words[start : start + _ROWS_AT_ONCE] @ words.T).tocoo()
        first, second = shared.row + start, shared.col
        kept = (shared.data >= _LEAST_SHARED) & (first < second)
        found.append((first[kept], second[kept], shared.data[kept]))
    first, second, share = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(-share, kind="stable")[:_MOST_PAIRS]
    return first[order], second[order], share[order]


def _weighted(words: list[set[str]]) -> scipy.sparse.csr_matrix:
    """One row a text, one column a word that can be shared; all words of a text count for its length."""
    count = len(words)
    texts_with = Counter(word for of_text in words for word in of_text)
    most = max(2.0, _COMMON_SHARE * count)
    columns = {word: column for column, word in enumerate(w for w, n in texts_with.items() if 2 <= n <= most)}
    rows, places, weights = [], [], []
    for row, of_text in enumerate(words):
        length = sum(np.log(count / texts_with[word]) ** 2 for word in of_text) ** 0.5
        for word in of_text & columns.keys():
            rows.append(row)
            places.append(columns[word])
            weights.append(np.log(count / texts_with[word]) / length)
    values = np.array(weights, np.float32)
    return scipy.sparse.csr_matrix((values, (rows, places)), shape=(count, max(1, len(columns))))
