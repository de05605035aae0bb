"""Many blocks and commits for few rows."""

import pytest
from small_moves import TEACHER_DIM

from alignkit.migration import moving, new_rows


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 64 rows of float32; a commit after 128 of them."""
    monkeypatch.setattr(moving, "BLOCK_BYTES", 4 * TEACHER_DIM * 64)
    monkeypatch.setattr(new_rows, "BLOCK_BYTES", 4 * TEACHER_DIM * 64)
    monkeypatch.setattr(moving, "COMMIT_BYTES", 4 * TEACHER_DIM * 128)
