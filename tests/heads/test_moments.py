import numpy as np
import pytest
import torch

from alignkit.errors import DataError
from alignkit.heads.moments import GRAM_BLOCK, Moments
from alignkit.heads.streaming import TensorBatches


def make_pairs(count=500, student_dim=9, teacher_dim=14, offset=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(count, student_dim, generator=generator, dtype=torch.float64) + offset
    teacher = torch.randn(count, teacher_dim, generator=generator, dtype=torch.float64) - offset
    return student, teacher


def assert_moments_of(moments, student, teacher, rtol=1e-6):
    student, teacher = student.double().numpy(), teacher.double().numpy()
    centered_student, centered_teacher = student - student.mean(0), teacher - teacher.mean(0)
    scale = np.abs(centered_student.T @ centered_student).max()
    assert moments.count == len(student)
    np.testing.assert_allclose(moments.student_mean, student.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(moments.teacher_mean, teacher.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(moments.gram, centered_student.T @ centered_student, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(moments.cross, centered_student.T @ centered_teacher, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(moments.teacher_variation, (centered_teacher**2).sum(), rtol=rtol)


@pytest.mark.parametrize("batch_size", [1, 64, 1000])
def test_agree_with_numpy(batch_size):
    student, teacher = make_pairs()
    assert_moments_of(Moments.of(TensorBatches(student, teacher, batch_size)).centered(), student, teacher)


def test_a_large_common_mean_costs_no_precision():
    # float32 vectors 10,000 away from zero: their squares alone need more digits than float32 has
    student, teacher = (part.float() for part in make_pairs(offset=1e4))
    assert_moments_of(Moments.of(TensorBatches(student, teacher, 100)).centered(), student, teacher, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_float_types(dtype):
    student, teacher = (part.to(dtype) for part in make_pairs())
    assert_moments_of(Moments.of(TensorBatches(student, teacher, 100)).centered(), student, teacher)


def test_students_wider_than_a_block():
    student, teacher = make_pairs(30, student_dim=GRAM_BLOCK + 7, teacher_dim=2)
    gram = Moments.of(TensorBatches(student, teacher)).centered().gram
    assert torch.equal(gram, gram.T)
    assert_moments_of(Moments.of(TensorBatches(student, teacher)).centered(), student, teacher)


def test_merge_adds_up_whatever_the_shifts():
    student, teacher = make_pairs()
    student[250:] += 3  # the second shard's own mean is elsewhere
    shards = [Moments.of(TensorBatches(student[rows], teacher[rows], 60)) for rows in (slice(250), slice(250, None))]
    shards[0].merge(shards[1])
    assert_moments_of(shards[0].centered(), student, teacher)


def test_empty_batches_are_passed_over():
    student, teacher = make_pairs(50)
    batches = [(student[:0], teacher[:0]), (student, teacher), (student[:0], teacher[:0])]
    assert_moments_of(Moments.of(batches).centered(), student, teacher)


def test_nothing_to_sum_up():
    with pytest.raises(DataError, match="no pairs"):
        Moments.of([])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_refuses_vectors_that_are_not_finite(number):
    student, teacher = make_pairs(50)
    student[3, 2] = number
    with pytest.raises(DataError, match="NaN or infinite"):
        Moments.of(TensorBatches(student, teacher))


@pytest.mark.parametrize("batch_size", [1, 64, 1000])
def test_a_pair_of_weight_three_counts_as_three_pairs(batch_size):
    student, teacher = make_pairs()
    weights = torch.arange(len(student)) % 3 + 1
    found = Moments.of(TensorBatches(student, teacher, batch_size), weights).centered()
    assert_moments_of(found, *(part.repeat_interleave(weights, dim=0) for part in (student, teacher)))
