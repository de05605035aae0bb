import hashlib
import tracemalloc

import numpy as np
import pytest

from alignkit.errors import ConfigError, DataError
from alignkit.sentences import splits
from alignkit.sentences.splits import merge_equal_texts, merge_groups, split_groups


@pytest.mark.parametrize("count", [20, 21, 57, 1000])
@pytest.mark.parametrize("seed", [0, 1, -3])
def test_single_rows_are_split_exactly_and_completely(count, seed):
    parts = split_groups([str(row) for row in range(count)], seed=seed)
    assert [len(part) for part in parts[1:]] == [round(count * 0.1)] * 2
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    assert all(len(part) and np.array_equal(part, np.sort(part)) and part.dtype == np.int64 for part in parts)


def test_no_group_is_divided_and_sizes_come_near():
    rng = np.random.default_rng(0)
    groups = [f"g{number}" for number in rng.integers(0, 40, 1000)]
    parts = split_groups(groups, seed=0, validation=0.2, test=0.1)
    names = [{groups[row] for row in part} for part in parts]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    assert abs(len(parts[1]) - 200) <= 15 and abs(len(parts[2]) - 100) <= 15


def test_the_seed_decides_zero_too_and_the_split_is_the_same_everywhere():
    groups = [str(row) for row in range(30)]
    assert [part.tolist() for part in split_groups(groups, seed=0)[1:]] == [[4, 11, 17], [3, 8, 14]]
    assert split_groups(groups, seed=1)[2].tolist() != split_groups(groups, seed=0)[2].tolist()


def test_a_huge_group_leaves_room_for_the_others():
    parts = split_groups(["big"] * 50 + ["b", "c"], seed=0)
    assert [len(part) for part in parts] == [50, 1, 1]


def test_zero_fraction_makes_an_empty_split():
    assert [len(part) for part in split_groups(list("abcd"), seed=0, validation=0.0, test=0.25)] == [3, 0, 1]


def test_too_few_groups_and_impossible_fractions_are_refused():
    with pytest.raises(DataError, match="30 sentences in 2 groups cannot be split 3 ways"):
        split_groups(["a"] * 15 + ["b"] * 15, seed=0)
    with pytest.raises(ConfigError, match="leave something to train on"):
        split_groups(list("abc"), seed=0, validation=0.5, test=0.5)
    with pytest.raises(ConfigError):
        split_groups(list("abc"), seed=0, validation=float("nan"))


def test_equal_texts_join_their_groups_transitively():
    assert merge_equal_texts(["A b", "a  B!", "c", "C", "d"], ["g", "h", "h", "i", "j"]) == ["g", "g", "g", "g", "j"]
    assert merge_groups(["a", "b", "c"], []) == ["a", "b", "c"]


def dealt_by_name(groups, seed, validation, test):
    """As `split_groups`, with every name in a dictionary."""

    def digest(group):
        return hashlib.blake2b(f"{seed}\0{group}".encode()).digest()

    wanted = [max(1, round(len(groups) * share)) if share else 0 for share in (test, validation)]
    rows_of = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    waiting, parts = sorted(rows_of, key=digest), []
    for number, size in enumerate(wanted):
        chosen, left = [], size
        most = len(waiting) - 1 - sum(other > 0 for other in wanted[number + 1 :])
        for group in waiting:
            if len(rows_of[group]) <= left and len(chosen) < most:
                chosen.append(group)
                left -= len(rows_of[group])
        rest = [group for group in waiting if group not in chosen]
        if left > 0 and rest and len(chosen) < most:
            smallest = min(rest, key=lambda group: len(rows_of[group]))
            if not chosen or len(rows_of[smallest]) - left < left:
                chosen.append(smallest)
        waiting = [group for group in waiting if group not in chosen]
        parts.append(sorted(row for group in chosen for row in rows_of[group]))
    return [sorted(row for group in waiting for row in rows_of[group]), parts[1], parts[0]]


@pytest.mark.parametrize("count", [3, 4, 8, 57, 200])
@pytest.mark.parametrize("each", [1, 1.3, 4])
@pytest.mark.parametrize("shares", [(0, 0), (0.1, 0), (0, 0.1), (0.1, 0.1), (0.5, 0.4), (0.01, 0.98)])
def test_groups_are_dealt_in_the_order_of_their_hashes(count, each, shares, monkeypatch):
    monkeypatch.setattr(splits, "_GROUPS_AT_ONCE", 7)
    for seed in range(5):
        numbers = (
            np.random.default_rng(seed).integers(0, max(3, int(count / each)), count) if each > 1 else range(count)
        )
        groups = [f"row-{number}" for number in [0, 1, 2, *numbers]]
        settings = {"seed": seed, "validation": shares[0], "test": shares[1]}
        parts = split_groups(groups, **settings)
        assert [rows.tolist() for rows in parts] == dealt_by_name(groups, **settings)
        assert all(rows.dtype == np.int64 for rows in parts)


def test_many_rows_of_which_some_are_equal_take_little_memory():
    """No name is kept: a dictionary of them took a third of a kilobyte a row."""

    class Names:
        def __len__(self):
            return 40_000

        def __iter__(self):
            return (f"row-{row // 2 * 2 if row < 100 else row}" for row in range(len(self)))

    tracemalloc.start()
    parts = split_groups(Names(), seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(part) for part in parts] == [32_000, 4_000, 4_000]
    assert peak < 100 * len(Names())
