from dataclasses import replace

import numpy as np
import pytest

from alignkit.pairs.base import Pairs
from alignkit.pairs.vectors import load_vectors
from alignkit.pairs.views import JoinedRows, RowIds, join_pairs, take_pairs


def numbered(count, negatives=None, start=0):
    vectors = np.arange(start, start + count, dtype=np.float32)[:, None] * np.ones(3, dtype=np.float32)
    names = [str(row) for row in range(start, start + count)]
    return Pairs(names, vectors, -vectors, names, names, negatives, names)


def test_ids_are_made_when_asked_for_and_behave_as_a_list():
    ids = RowIds(np.array([4, 7, 9]), "test-")
    assert list(ids) == ["test-4", "test-7", "test-9"] and len(ids) == 3 and ids[-1] == "test-9"
    assert list(ids[1:]) == ["test-7", "test-9"] and "test-7" in ids
    assert ids == ["test-4", "test-7", "test-9"] == ids
    assert ids != ["test-4", "test-7"] and ids != RowIds(np.array([4, 7, 8]), "test-")


def test_rows_of_two_arrays_are_those_of_the_joined_one():
    first, second = np.arange(12.0).reshape(4, 3), -np.arange(6.0).reshape(2, 3).astype(np.float32)
    joined, whole = JoinedRows(first, second), np.concatenate([first, second])
    assert joined.shape == whole.shape and joined.dtype == whole.dtype and len(joined) == 6
    for at in (slice(None), slice(2, 5), slice(4, 99), np.array([5, 0, 3, 5]), np.array([], dtype=int), 1, 5):
        assert np.array_equal(joined[at], whole[at])
    assert np.array_equal(np.asarray(joined), whole)


def test_some_pairs_keep_what_belongs_to_them():
    negatives = np.array([[1, -1], [2, 3], [0, 1], [4, -1], [0, 2]])
    some = take_pairs(numbered(5, negatives), np.array([4, 1, 2]))
    for part in (some.ids, some.texts, some.labels, some.groups):
        assert list(part) == ["4", "1", "2"]
    assert np.asarray(some.student)[:, 0].tolist() == [4, 1, 2] == (-np.asarray(some.teacher)[:, 0]).tolist()
    # row 0 and 3 are gone; 4 is now 0, 1 is 1, 2 is 2
    assert some.negatives.tolist() == [[-1, 2], [2, -1], [-1, 1]]


def test_joined_pairs_shift_hard_negatives_and_pad_them():
    joined = join_pairs(numbered(2, np.array([[1], [-1]])), numbered(3, np.array([[1, -1], [2, 0], [-1, -1]]), start=2))
    assert joined.negatives.tolist() == [[1, -1], [-1, -1], [3, -1], [4, 2], [-1, -1]]
    assert np.asarray(joined.student)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert len(set(joined.ids)) == 5
    assert join_pairs(numbered(2), numbered(3, start=2)).negatives is None


@pytest.mark.parametrize("has_some", ["first", "second"])
def test_joined_pairs_keep_hard_negatives_that_one_side_alone_has(has_some):
    negatives = {"first": np.array([[1, -1], [0, 1]]), "second": np.array([[2], [-1], [0]])}
    parts = {"first": numbered(2), "second": numbered(3, start=2)}
    given = {
        name: part if name != has_some else replace(part, negatives=negatives[name]) for name, part in parts.items()
    }
    expected = {"first": [[1, -1], [0, 1], [-1, -1], [-1, -1], [-1, -1]], "second": [[-1], [-1], [4], [-1], [2]]}
    assert join_pairs(given["first"], given["second"]).negatives.tolist() == expected[has_some]


@pytest.mark.parametrize("times", [1, 2])
def test_vectors_of_a_file_stay_there(tmp_path, make_pairs, times):
    pairs = make_pairs(100)
    for name in ("student", "teacher"):
        np.save(tmp_path / f"{name}.npy", getattr(pairs, name))
    some = load_vectors(str(tmp_path / "student.npy"), str(tmp_path / "teacher.npy")).train
    rows = some.student.rows
    for _ in range(times):
        some, rows = take_pairs(some, np.arange(0, len(some), 2)), rows[::2]
    assert isinstance(some.student.array, np.memmap) and isinstance(some.ids, RowIds)
    assert np.array_equal(some.student[:], pairs.student[rows]) and some.ids == [f"row-{row}" for row in rows]
    joined = join_pairs(some, some)
    assert isinstance(joined.teacher.parts[0].array, np.memmap)
    assert np.array_equal(joined.teacher[len(some) :], some.teacher[:])
