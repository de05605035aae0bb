"""Heads to put on a Hub."""

import pytest
import torch

from alignkit.artifact import save_head
from alignkit.heads.linear import LinearHead


@pytest.fixture
def save_run(tmp_path):
    """Writes a run folder with a head of a seed; returns it."""

    def save(seed=0, student_dim=4, name="run", **about):
        torch.manual_seed(seed)
        save_head(LinearHead(student_dim, 3), tmp_path / name / "head", **about)
        return tmp_path / name

    return save


@pytest.fixture
def run(save_run):
    return save_run()


@pytest.fixture
def distilled_run(save_run, tmp_path):
    """A run whose student was trained with the head: a small table."""
    from small_table import save_table

    from alignkit.embedders.distilled import DistilledEmbedder

    save_table(tmp_path / "trained" / "student")
    student = DistilledEmbedder(tmp_path / "trained")
    return save_run(student_dim=student.dim, name="trained", student_identity=student.identity("query"))
