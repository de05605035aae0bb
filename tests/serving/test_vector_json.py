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


def test_all_bits_come_back(vectors):
    read = [json.loads(row) for row in vector_json.as_numbers(vectors)]
    assert np.array_equal(np.array(read, dtype=np.float32), vectors)
    read = [np.frombuffer(base64.b64decode(json.loads(row)), dtype="<f4") for row in vector_json.as_base64(vectors)]
    assert np.array_equal(read, vectors)


@pytest.mark.parametrize("write", [vector_json.as_numbers, vector_json.as_base64])
def test_shapes_without_numbers(write):
    assert write(np.empty((0, 3), dtype=np.float32)) == []


def test_the_loop_turns_between_the_pieces_of_a_large_answer(vectors, monkeypatch):
    monkeypatch.setattr(vector_json, "PIECE_NUMBERS", 5 * 37)

    async def scenario():
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        rows = await vector_json.write_rows(vectors, vector_json.as_numbers)
        counting.cancel()
        return rows, turns

    rows, turns = asyncio.run(scenario())
    assert rows == vector_json.as_numbers(vectors)
    assert turns >= 9
