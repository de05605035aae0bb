"""Teacher vectors have length 1 from where they enter on, whatever their scale, type and size."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from alignkit.neighbours import top_k
from alignkit.pairs import unit_rows as room
from alignkit.pairs.evaluation_set import Side
from alignkit.pairs.unit_rows import UnitRows, unit_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_side_holds_teacher_vectors_of_length_1_and_the_students_as_they_came(dtype):
    generator = np.random.default_rng(0)
    student, teacher = (generator.normal(0, 3, (7, width)).astype(dtype) for width in (4, 5))
    before = teacher.copy()
    side = Side(student, teacher)
    assert side.teacher.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(side.teacher, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(teacher, before)
    assert side.student is student
    again = dataclasses.replace(side, texts=["one"] * 7)
    np.testing.assert_allclose(again.teacher, side.teacher, atol=1e-7)


def test_what_is_too_large_to_copy_is_scaled_a_block_at_a_time(monkeypatch):
    vectors = np.random.default_rng(0).normal(0, 9, (50, 8))
    held = unit_rows(vectors)
    monkeypatch.setattr(room, "HELD_BYTES", 100)
    viewed = unit_rows(vectors)
    assert isinstance(viewed, UnitRows) and unit_rows(viewed) is viewed
    assert viewed.shape == (50, 8) and len(viewed) == 50
    np.testing.assert_array_equal(viewed[3:9], held[3:9])
    np.testing.assert_array_equal(viewed[np.array([7, 1])], held[[7, 1]])
    np.testing.assert_array_equal(viewed[4], held[4])
    np.testing.assert_array_equal(np.asarray(viewed), held)
    for found, expected in zip(top_k(held, viewed, 3), top_k(held, held, 3), strict=True):
        np.testing.assert_array_equal(found, expected)
