"""Splits by group: texts that belong together, or are equal, are never in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.normalise import normalise_text

Splits = tuple[np.ndarray, np.ndarray, np.ndarray]
# the beginning of a hash, which no two of any number of groups share
_DIGEST = np.dtype("V16")
_GROUPS_AT_ONCE = 100_000


def split_groups(groups: Sequence[str], *, seed: int, validation: float = 0.1, test: float = 0.1) -> Splits:
    """Rows of train, validation and test, so that no group is in two of them.

    Groups are dealt in the order of a hash of seed and name, which is the same on every platform and
    hardly changes with more data. Sizes are as close to the fractions as whole groups allow.

    Args:
        groups: N group names, one per row.
        seed: any integer.
        validation: fraction of the rows in [0, 1).
        test: fraction of the rows in [0, 1).

    Returns:
        Three ascending int64 arrays that together make up `arange(N)`.

    Raises:
        ConfigError: if the fractions leave nothing for training.
        DataError: if there are fewer groups than requested splits.

    >>> [len(rows) for rows in split_groups([str(i) for i in range(20)], seed=0)]
    [16, 2, 2]
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ConfigError(f"validation={validation} and test={test} must be in [0, 1) and leave something to train on")
    wanted = [max(1, round(len(groups) * fraction)) if fraction else 0 for fraction in (test, validation)]
    needed = 1 + sum(size > 0 for size in wanted)
    order, sizes = _dealing_order(groups, seed)
    if len(sizes) < needed:
        raise DataError(f"{len(groups)} sentences in {len(sizes)} groups cannot be split {needed} ways by group")
    # which split each group is in: 0 is train
    split = np.zeros(len(sizes), dtype=np.int8)
    for number, size in enumerate(wanted, start=1):
        waiting = np.flatnonzero(split == 0)
        kept_for_later = 1 + sum(other > 0 for other in wanted[number:])
        split[waiting[_fill(sizes[waiting], size, len(waiting) - kept_for_later)]] = number
    of_row = np.repeat(split, sizes)
    train, tested, held_out = (np.sort(order[of_row == number]) for number in range(3))
    return train, held_out, tested


def first_equal_texts(texts: Sequence[str]) -> np.ndarray:
    """For each text the first row with the same normalised text, `(N,)` int64.

    >>> first_equal_texts(["Hi!", "hi", "bye"]).tolist()
    [0, 0, 2]
    """
    first: dict[str, int] = {}
    rows = (first.setdefault(normalise_text(text), row) for row, text in enumerate(texts))
    return np.fromiter(rows, np.int64, len(texts))


def merge_equal_texts(texts: Sequence[str], groups: Sequence[str] | None = None) -> list[str]:
    """A group name per text: groups that share a normalised text become one.

    Args:
        texts: N texts.
        groups: N names of texts that already belong together (a paraphrase set, a topic); None if each is alone.

    Returns:
        N names; a merged group has the name of its first member.

    >>> merge_equal_texts(["Hi!", "hi", "bye"], ["a", "b", "c"])
    ['a', 'a', 'c']
    """
    first = first_equal_texts(texts)
    if groups is None:
        return list(map(str, first.tolist()))
    rows = np.flatnonzero(first != np.arange(len(first)))
    return merge_groups(groups, [(groups[first[row]], groups[row]) for row in rows.tolist()])


def merge_groups(groups: Sequence[str], same: Iterable[tuple[str, str]]) -> list[str]:
    """Rename groups so that each pair in `same` shares a name, the earliest one.

    >>> merge_groups(["a", "b", "c", "d"], [("b", "d"), ("d", "a")])
    ['a', 'a', 'c', 'a']
    """
    if not (same := list(same)):
        return list(groups)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = list(dict.fromkeys(groups))
    number = {name: index for index, name in enumerate(names)}
    pairs = np.array([(number[one], number[other]) for one, other in same], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names), len(names)))
    _, joined = connected_components(graph, directed=False)
    _, earliest = np.unique(joined, return_index=True)
    return [names[earliest[joined[number[group]]]] for group in groups]


def _dealing_order(groups: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(N,)` by the hash of seed and group, and the size of each group; no name is kept in memory."""
    digests = (hashlib.blake2b(f"{seed}\0{group}".encode()).digest()[: _DIGEST.itemsize] for group in groups)
    found = np.fromiter(digests, _DIGEST, len(groups)).view(">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((found[:, 1], found[:, 0]))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
    return order, np.diff(np.append(np.flatnonzero(starts), len(order)))


def _fill(sizes: np.ndarray, wanted: int, most: int) -> np.ndarray:
    """Groups whose sizes sum to about `wanted`, chosen greedily in their order; at most `most`: bool a group."""
    chosen = np.zeros(len(sizes), dtype=bool)
    left = wanted
    for start in range(0, len(sizes), _GROUPS_AT_ONCE):
        for place, size in enumerate(sizes[start : start + _GROUPS_AT_ONCE].tolist(), start):
            if size <= left and most > 0:
                chosen[place] = True
                left, most = left - size, most - 1
        if not left or not most:
            break
    if left > 0 and most > 0 and not chosen.all():
        rest = np.flatnonzero(~chosen)
        smallest = rest[sizes[rest].argmin()]
        if not chosen.any() or sizes[smallest] - left < left:
            chosen[smallest] = True
    return chosen
