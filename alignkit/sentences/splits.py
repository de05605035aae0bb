"""Splits by group: texts that belong together, or are equal, are never in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.normalise import normalise_text

Splits = tuple[np.ndarray, np.ndarray, np.ndarray]


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
    order = _order_of_distinct(groups, seed)
    if order is not None and len(order) >= needed:
        ends = np.minimum(np.cumsum(wanted), len(order) - np.array([1 + (wanted[1] > 0), 1]))
        parts = np.split(order, ends)
        return np.sort(parts[2]), np.sort(parts[1]), np.sort(parts[0])
    rows_of: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    if len(rows_of) < needed:
        raise DataError(f"{len(groups)} sentences in {len(rows_of)} groups cannot be split {needed} ways by group")
    waiting = sorted(rows_of, key=lambda group: _digest(group, seed))
    held_out = []
    for index, size in enumerate(wanted):
        kept_for_later = 1 + sum(other > 0 for other in wanted[index + 1 :])
        chosen = _fill([(group, len(rows_of[group])) for group in waiting], size, len(waiting) - kept_for_later)
        waiting = [group for group in waiting if group not in chosen]
        held_out.append(_rows(rows_of[group] for group in chosen))
    return _rows(rows_of[group] for group in waiting), held_out[1], held_out[0]


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
    names = [str(row) for row in range(len(texts))] if groups is None else list(groups)
    first_with: dict[str, str] = {}
    same = [(first_with.setdefault(normalise_text(text), name), name) for text, name in zip(texts, names, strict=True)]
    return merge_groups(names, same)


def merge_groups(groups: Sequence[str], same: Iterable[tuple[str, str]]) -> list[str]:
    """Rename groups so that each pair in `same` shares a name, the earliest one.

    >>> merge_groups(["a", "b", "c", "d"], [("b", "d"), ("d", "a")])
    ['a', 'a', 'c', 'a']
    """
    names = list(dict.fromkeys(groups))
    number = {name: index for index, name in enumerate(names)}
    pairs = np.array([(number[one], number[other]) for one, other in same], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names), len(names)))
    _, joined = connected_components(graph, directed=False)
    _, earliest = np.unique(joined, return_index=True)
    return [names[earliest[joined[number[group]]]] for group in groups]


def _digest(group: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{group}".encode()).digest()


def _order_of_distinct(groups: Sequence[str], seed: int) -> np.ndarray | None:
    """Rows in dealing order, if each is its own group: no names are kept in memory."""
    starts = (int.from_bytes(_digest(group, seed)[:8], "big") for group in groups)
    keys = np.fromiter(starts, dtype=np.uint64, count=len(groups))
    order = np.argsort(keys, kind="stable")
    # equal beginnings mean equal groups, or a one-in-a-trillion chance that only the whole digest can settle
    return None if (np.diff(keys[order]) == 0).any() else order


def _fill(sizes: list[tuple[str, int]], wanted: int, most: int) -> set[str]:
    """Groups, in the given order, whose sizes sum to about `wanted`, chosen greedily; at most `most`."""
    chosen: set[str] = set()
    left = wanted
    for group, size in sizes:
        if size <= left and len(chosen) < most:
            chosen.add(group)
            left -= size
    rest = [(group, size) for group, size in sizes if group not in chosen]
    if left > 0 and rest and len(chosen) < most:
        group, size = min(rest, key=lambda item: item[1])
        if not chosen or size - left < left:
            chosen.add(group)
    return chosen


def _rows(parts: Iterable[list[int]]) -> np.ndarray:
    return np.array(sorted(row for part in parts for row in part), dtype=np.int64)
