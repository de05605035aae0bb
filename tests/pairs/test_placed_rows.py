import numpy as np
import pytest
import torch

from alignkit.pairs.base import Pairs
from alignkit.pairs.placed_rows import PlacedRows, bytes_to_place, lies_on, place, rows_on
from alignkit.pairs.views import RowIds, join_pairs, take_pairs
from alignkit.vector_files import MappedRows

CPU = torch.device("cpu")


@pytest.fixture
def stored(tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(40, 6)).astype(np.float16))
    return np.load(tmp_path / "vectors.npy", mmap_mode="r")


class Unreadable:
    """An array that nobody may read any more."""

    def __init__(self, array):
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, 2

    def __getitem__(self, at):
        raise AssertionError("the file was read again")


def test_what_lies_on_the_device_is_read_once_for_all_parts(stored, monkeypatch):
    read = []
    monkeypatch.setattr("alignkit.pairs.placed_rows.CHUNK_BYTES", 12 * 16)
    real = np.memmap.__getitem__
    monkeypatch.setattr(np.memmap, "__getitem__", lambda self, at: (read.append(at), real(self, at))[1])
    first, second = place([MappedRows(stored, np.arange(0, 40, 2)), MappedRows(stored, np.arange(1, 40, 2))], CPU)
    assert [(at.start, at.stop) for at in read] == [(0, 16), (16, 32), (32, 48)]  # forward, once
    assert first.copy is second.copy
    assert first.copy.dtype == torch.float16  # as it is stored, half of float32
    first.array = second.array = Unreadable(stored)
    expected = torch.from_numpy(np.array(stored, dtype=np.float32))
    assert torch.equal(rows_on(first, slice(3, 7), CPU), expected[6:14:2])
    assert torch.equal(rows_on(second, torch.tensor([5, 0]), CPU), expected[[11, 1]])
    assert torch.equal(rows_on(second, np.array([2]), CPU), expected[[5]])


def test_rows_of_rows_and_joined_rows_keep_their_copy(stored):
    vectors = place([stored], CPU)[0]
    pairs = Pairs(ids=RowIds(np.arange(40)), student=vectors, teacher=vectors)
    first, second = take_pairs(pairs, np.array([30, 7, 8])), take_pairs(pairs, np.array([1, 0]))
    joined = join_pairs(first, second)
    assert isinstance(first.teacher, PlacedRows)
    assert lies_on(joined.teacher, CPU)
    assert not lies_on(join_pairs(first, take_pairs(Pairs(ids=pairs.ids, student=stored, teacher=stored),
                                                    np.arange(3))).teacher, CPU)  # fmt: skip
    expected = np.asarray(joined.teacher[:], dtype=np.float32)
    assert np.array_equal(rows_on(joined.teacher, torch.tensor([4, 0, 2]), CPU), expected[[4, 0, 2]])
    assert np.array_equal(rows_on(joined.teacher, slice(1, 4), CPU), expected[1:4])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_read_is_the_callers_own(dtype):
    vectors = np.random.default_rng(0).normal(size=(9, 3)).astype(dtype)
    before = vectors.copy()
    for rows in (slice(2, 6), np.array([1, 3])):
        for held in (vectors, MappedRows(vectors, np.arange(9))):
            own = rows_on(held, rows, CPU)
            assert own.dtype == torch.float32
            assert np.array_equal(own.numpy(), before[rows].astype(np.float32))
            own.zero_()
    assert np.array_equal(vectors, before)


def test_what_is_placed_already_stays_and_is_counted_as_stored(stored):
    vectors = place([stored], CPU)
    assert place(vectors, CPU) == vectors
    assert bytes_to_place([stored, MappedRows(stored, np.arange(3)), np.zeros((2, 4))]) == 40 * 6 * 2 + 2 * 4 * 8
