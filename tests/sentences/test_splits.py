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


@pytest.mark.parametrize("count", [3, 4, 5, 8, 57, 200])
@pytest.mark.parametrize("shares", [(0, 0), (0.1, 0), (0, 0.1), (0.1, 0.1), (0.5, 0.4), (0.01, 0.98)])
def test_groups_of_one_row_are_dealt_as_others_are(count, shares, monkeypatch):
    """They take a way of their own, which keeps no name in memory."""
    names, settings = [f"row-{row}" for row in range(count)], {"validation": shares[0], "test": shares[1]}
    short = [split_groups(names, seed=seed, **settings) for seed in range(5)]
    monkeypatch.setattr(splits, "_order_of_distinct", lambda groups, seed: None)
    usual = [split_groups(names, seed=seed, **settings) for seed in range(5)]
    for one, other in zip(short, usual, strict=True):
        assert [rows.tolist() for rows in one] == [rows.tolist() for rows in other]
        assert all(rows.dtype == np.int64 for rows in one)
