import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from alignkit.heads.streaming import sample_pairs
from alignkit.pairs.base import Pairs
from alignkit.pairs.views import take_pairs
from alignkit.training import batches as batches_module
from alignkit.training.batches import PairBatches
from alignkit.training.row_order import RowOrder
from alignkit.training.solver_batches import SolverBatches, sample_of_teacher, teacher_mean

CPU = torch.device("cpu")


def batches_of(pairs, order, batch_size=7, epoch=0, **settings):
    settings = {"in_memory": True, "device": CPU, **settings}
    return list(PairBatches(pairs, batch_size, order, epoch=lambda: epoch, **settings))


@pytest.mark.parametrize("in_memory", [True, False])
def test_every_row_once_and_with_its_own_partner(make_pairs, in_memory):
    pairs = make_pairs(50)
    order = RowOrder(50, shuffle=True, block=1 if in_memory else 8)
    batches = batches_of(pairs, order, in_memory=in_memory)
    rows = torch.cat([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(50))
    assert rows.tolist() != list(range(50))
    for batch in batches:
        assert np.array_equal(batch.student.numpy(), pairs.student[batch.rows.numpy()])
        assert np.allclose(batch.teacher.numpy(), pairs.teacher[batch.rows.numpy()], atol=1e-6)
    assert [len(batch.rows) for batch in batches] == [7] * 7 + [1]


@pytest.mark.parametrize("block", [1, 4])
def test_order_depends_on_seed_and_epoch_alone(block):
    def order(seed, epoch):
        return np.concatenate(list(RowOrder(30, shuffle=True, seed=seed, block=block).runs(epoch))).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("count", [24, 25, 31, 50])
def test_processes_share_the_rows_and_take_equally_many(block, count):
    orders = [RowOrder(count, shuffle=True, rank=rank, world_size=3, block=block) for rank in range(3)]
    rows = [np.concatenate(list(order.runs(0))) for order in orders]
    assert {len(part) for part in rows} == {len(orders[0])}
    dealt = np.concatenate(rows)
    assert sorted(dealt[dealt >= 0].tolist()) == list(range(count)) and len(dealt) < count + 3


@pytest.mark.parametrize("in_memory", [True, False])
def test_padding_is_a_row_that_is_marked(make_pairs, in_memory):
    pairs = make_pairs(10)
    orders = [RowOrder(10, shuffle=True, rank=rank, world_size=4, block=1 if in_memory else 4) for rank in range(4)]
    found = [batch for order in orders for batch in batches_of(pairs, order, 2, in_memory=in_memory)]
    assert sorted(row for one in found for row in one.rows[one.real == 1].tolist()) == list(range(10))
    assert sum(int((one.real == 0).sum()) for one in found) == 2
    assert all(np.array_equal(one.student.numpy(), pairs.student[one.rows.numpy()]) for one in found)


def test_teacher_rows_are_normalised_and_student_rows_are_not(make_pairs):
    pairs = make_pairs(20)
    scaled = Pairs(ids=pairs.ids, student=pairs.student * 5, teacher=(pairs.teacher * 3).astype(np.float16))
    batch = batches_of(scaled, RowOrder(20, shuffle=False))[0]
    assert torch.allclose(batch.teacher.norm(dim=1), torch.ones(7), atol=1e-5)
    assert np.array_equal(batch.student.numpy(), scaled.student[:7])


@pytest.mark.parametrize("in_memory", [True, False])
def test_negatives_come_as_teacher_vectors_and_missing_ones_as_zeros(make_pairs, in_memory):
    pairs = make_pairs(20)
    negatives = np.stack([(np.arange(20) + 1) % 20, np.full(20, -1)], axis=1)
    with_negatives = Pairs(ids=pairs.ids, student=pairs.student, teacher=pairs.teacher, negatives=negatives)
    order = RowOrder(20, shuffle=True, block=1 if in_memory else 8)
    for batch in batches_of(with_negatives, order, in_memory=in_memory, with_negatives=True):
        expected = pairs.teacher[negatives[batch.rows.numpy(), 0]]
        assert np.allclose(batch.negatives[:, 0].numpy(), expected, atol=1e-6)
        assert (batch.negatives[:, 1] == 0).all()


def test_a_batch_that_somebody_holds_keeps_no_other_rows_alive(make_pairs):
    batches = batches_of(make_pairs(50), RowOrder(50, shuffle=True, block=8), in_memory=False)
    for batch in batches:
        for part in (batch.rows, batch.student, batch.teacher):
            assert part.untyped_storage().nbytes() == part.nbytes


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_are_turned_into_float32_a_chunk_at_a_time(make_pairs, in_memory, monkeypatch):
    asked = []

    class Watched(np.ndarray):
        def __getitem__(self, at):
            found = super().__getitem__(at)
            asked.append(len(found))
            return np.asarray(found)

    monkeypatch.setattr(batches_module, "CHUNK_ROWS", 5)
    pairs = make_pairs(50)
    half = pairs.teacher.astype(np.float16)
    watched = Pairs(ids=pairs.ids, student=pairs.student.view(Watched), teacher=half.view(Watched))
    batches = batches_of(watched, RowOrder(50, shuffle=True, block=1 if in_memory else 8), in_memory=in_memory)
    assert max(asked) == 5 and sum(asked) == 100
    for batch in batches:
        rows = batch.rows.numpy()
        assert np.array_equal(batch.student.numpy(), pairs.student[rows])
        assert torch.equal(batch.teacher, torch.nn.functional.normalize(torch.from_numpy(half[rows]).float(), dim=1))


def test_a_batch_may_be_larger_than_what_is_shuffled_together(make_pairs):
    batches = batches_of(make_pairs(200), RowOrder(200, shuffle=True, block=8), batch_size=90, in_memory=False)
    assert [len(batch.rows) for batch in batches] == [90, 90, 20]
    assert sorted(torch.cat([batch.rows for batch in batches]).tolist()) == list(range(200))


def test_a_sample_of_a_stream_keeps_no_whole_chunk():
    alive = []

    class Stream:
        def __len__(self):
            return 60

        def __iter__(self):
            for _ in range(6):
                assert (
                    sum(chunk() is not None for chunk in alive) <= 4
                )  # the chunk before, both sides, and what is at hand
                students, teachers = np.ones((10, 2), dtype=np.float32), np.ones((10, 3), dtype=np.float32)
                alive.extend([weakref.ref(students), weakref.ref(teachers)])
                yield torch.from_numpy(students), torch.from_numpy(teachers)

    student, teacher = sample_pairs(Stream(), 20)
    assert student.shape == (20, 2) and teacher.shape == (20, 3)


def test_solver_batches_join_parts_and_repeat(make_pairs):
    parts = make_pairs(10, seed=0), make_pairs(5, seed=1)
    batches = SolverBatches(*parts, device=CPU, chunk_rows=4)
    students = torch.cat([student for student, _ in batches])
    assert np.array_equal(students.numpy(), np.concatenate([part.student for part in parts]))
    assert len(list(batches)) == len(list(batches)) == 5
    assert len(batches) == 15


def test_teacher_mean(make_pairs):
    pairs = make_pairs(30)
    assert np.allclose(teacher_mean(SolverBatches(pairs, device=CPU)).numpy(), pairs.teacher.mean(axis=0), atol=1e-6)


def test_rows_come_as_often_as_they_count():
    weights = np.array([1.0] * 10 + [0.1] * 90)
    order = RowOrder(100, shuffle=True, weights=weights)
    epochs = [np.concatenate(list(order.runs(epoch))) for epoch in range(40)]
    assert {len(rows) for rows in epochs} == {100}
    times = np.bincount(np.concatenate(epochs), minlength=100) / 40
    np.testing.assert_allclose(times[:10], 100 / 19, atol=0.3)
    np.testing.assert_allclose(times[10:].mean(), 10 / 19, atol=0.05)
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(epochs[3], np.concatenate(list(order.runs(3))))
    # in order, as for validation, every row comes once
    assert np.array_equal(next(RowOrder(100, shuffle=False, weights=weights).runs(0)), np.arange(100))


def test_the_teachers_mean_and_a_solver_count_pairs_by_weight(make_pairs):
    pairs = make_pairs(6)
    weights = np.array([2.0, 1.0, 1.0, 1.0, 1.0, 2.0])
    repeated = np.repeat(pairs.teacher, weights.astype(int), axis=0)
    repeated = repeated / np.linalg.norm(repeated, axis=1, keepdims=True)
    weighted = replace(pairs, weights=weights)
    np.testing.assert_allclose(teacher_mean(SolverBatches(weighted, device=CPU)), repeated.mean(axis=0), atol=1e-6)
    assert SolverBatches(weighted, pairs, device=CPU).weights.tolist() == [*weights, *[1.0] * 6]
    assert SolverBatches(pairs, device=CPU).weights is None


def test_what_heads_search_while_they_are_judged_are_own_sentences(make_pairs):
    own = make_pairs(50)
    weighted = replace(own, weights=np.where(np.arange(50) < 20, 1.0, 0.2))
    sample = sample_of_teacher(weighted)
    np.testing.assert_array_equal(sample, sample_of_teacher(take_pairs(own, np.arange(20))))
