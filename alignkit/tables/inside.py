"""Pieces inside words: no text stands for `##ing`, so its row is the mean of the entries that hold it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from alignkit.tables.spelling import INSIDE, LONGEST_WORD, is_unspaced, within

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def with_inside(
    whole: Sequence[str], inside: Sequence[str], known: Collection[str] = ()
) -> tuple[list[str], csr_array]:
    """The entries of a table, and how their rows follow from those of the whole ones.

    The text `ing` means something else than the ending does: asked for it, the teacher makes a worse table than this.
    Where words are written without spaces, a word is the same word wherever it stands.

    Args:
        whole: W entries that can be asked for.
        inside: pieces that begin with `##`. Those that no entry holds are left out, except for single letters that are
            entries themselves.
        known: pieces inside words that are kept in any case, since their rows come from elsewhere.

    Returns:
        V names, and `(V, W)` float32 whose rows add up to 1, or are empty.

    >>> names, spread = with_inside(["a", "singing", "bring"], ["##ing", "##zz", "##a"])
    >>> names, spread.toarray().tolist()
    (['a', 'singing', 'bring', '##ing', '##a'], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    """  # noqa: E501
    from scipy.sparse import csr_array

    place = {piece.removeprefix(INSIDE): number for number, piece in enumerate(inside)}
    longest = max(map(len, place), default=0)
    holders: list[list[int]] = [[] for _ in inside]
    for number, word in enumerate(whole):
        if len(word) <= LONGEST_WORD:
            ends = [(start, end) for start in range(1, len(word)) for end in range(start + 1, start + longest + 1)]
            found = {word[start:end] for start, end in ends if end <= len(word)}
            for piece in sorted(found & place.keys()):
                holders[place[piece]].append(number)
    own = {word: number for number, word in enumerate(whole) if len(word) == 1}
    for letter, number in own.items():
        if letter in place and not holders[place[letter]]:
            holders[place[letter]] = [number]
    kept = [number for number, words in enumerate(holders) if words or inside[number] in known]
    rows = [[number] for number in range(len(whole))] + [holders[number] for number in kept]
    rows += [[number] for number, word in enumerate(whole) if is_unspaced(word)]
    lengths = np.array([len(row) for row in rows])
    weights = np.repeat((1 / np.maximum(lengths, 1)).astype(np.float32), lengths)
    columns = np.fromiter((number for row in rows for number in row), dtype=np.int64, count=int(lengths.sum()))
    spread = csr_array((weights, columns, np.append(0, np.cumsum(lengths))), shape=(len(rows), len(whole)))
    return [*whole, *(inside[number] for number in kept), *within(whole)], spread


def shared_ids(names: Sequence[str]) -> np.ndarray:
    """For each token id of a table, from that of the unknown token on, the one whose row it shares, `(1 + V,)`.

    >>> shared_ids(["包裹", "a", "##a", "##包裹"]).tolist()
    [0, 1, 2, 3, 1]
    """
    ids = np.arange(1 + len(names))
    place = {name: number for number, name in enumerate(names, 1)}
    for name in within(names):
        ids[place[name]] = place[name.removeprefix(INSIDE)]
    return ids
