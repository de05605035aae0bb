"""Vectors as JSON: what is read back is what was written."""

import asyncio
import base64
import json

import numpy as np
import pytest

from alignkit.serving import vector_json


@pytest.fixture
def vectors():
    drawn = np.random.default_rng(0).standard_normal((50, 37)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn[0] = 0
    drawn[0, :9] = [1, -1, 1 + 2e-7, 1e-9, -1e-9, 6e-9, 0.1, -0.00009999, 0.12345678]
    return drawn


def rows(vectors, base64=False):
    return json.loads(vector_json.as_json(asyncio.run(vector_json.rows_of(vectors, base64))))


@pytest.mark.parametrize("piece", [10**6, 5 * 37, 1])
def test_all_bits_come_back(piece, vectors, monkeypatch):
    monkeypatch.setattr(vector_json, "PIECE_NUMBERS", piece)
    assert np.array_equal(np.array(rows(vectors), dtype=np.float32), vectors)
    read = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows(vectors, base64=True)]
    assert np.array_equal(read, vectors)
    # a part of a batch, and vectors that were shortened, are views
    assert np.array_equal(np.array(rows(vectors[3:9, :20]), dtype=np.float32), vectors[3:9, :20])


@pytest.mark.parametrize("as_base64", [False, True])
def test_shapes_without_numbers(as_base64):
    assert rows(np.empty((0, 3), dtype=np.float32), as_base64) == []


@pytest.mark.parametrize("as_base64", [False, True])
def test_the_loop_turns_between_the_pieces_of_a_large_answer(as_base64, vectors, monkeypatch):
    monkeypatch.setattr(vector_json, "PIECE_NUMBERS", 5 * 37)

    async def scenario():
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await vector_json.rows_of(vectors, as_base64)
        counting.cancel()
        return turns

    assert asyncio.run(scenario()) >= 9
