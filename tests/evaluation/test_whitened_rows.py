"""Rows of a head whose queries are whitened: finding is of what is served, likeness of the head itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.evaluation.comparison import compare
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import set_of_pairs
from alignkit.reporting.remarks import notes_of
from alignkit.training.whitening_choice import choose_whitening


@pytest.fixture(scope="module")
def whitened():
    """Of the static student, which gains most by it."""
    splits = load_demo("static")
    student, teacher = (
        torch.from_numpy(np.array(part, dtype=np.float32)) for part in (splits.train.student, splits.train.teacher)
    )
    head = LinearHead(256, 384)
    head.solve(TensorBatches(student, teacher))
    head = head.eval().requires_grad_(False)
    part = choose_whitening(head, splits).part
    test = set_of_pairs(splits.test, splits.origin)
    plain, both = ({"query_head": head}, {"query_head": head, "whitening": part})
    return compare(test, Artifact(plain)), compare(test, Artifact(both))


def test_whitened_queries_are_judged_by_what_they_find_and_the_head_by_its_likeness(whitened):
    plain, served = whitened
    rows = served.rows
    assert list(rows)[:4] == ["teacher", "aligned", "aligned_plain", "aligned_both"]
    likeness = ("cosine_mean", "cosine_p05", "r2", "spearman", "cka")
    for row in ("aligned", "aligned_plain"):
        assert {key: rows[row][key] for key in likeness} == {key: plain.rows["aligned"][key] for key in likeness}
    for key in ("overlap@10", "ndcg@10", "recall@10", "self_mrr", "self_recall@1"):
        assert rows["aligned_plain"][key] == plain.rows["aligned"][key]
        assert rows["aligned"][key] != rows["aligned_plain"][key]
    # documents and both sides aligned go through the plain head
    assert rows["aligned_both"] == plain.rows["aligned_both"]
    assert any("are whitened" in note for note in notes_of(served))
    assert not any("are whitened" in note for note in notes_of(plain))


def test_a_whitened_query_finds_its_own_teacher_vector_more_often(whitened):
    rows = whitened[1].rows
    assert rows["aligned"]["self_mrr"] > rows["aligned_plain"]["self_mrr"] + 0.03
    assert rows["teacher"]["self_mrr"] == rows["teacher"]["self_recall@1"] == 1
    assert rows["raw"]["self_mrr"] < 0.05
    assert rows["student"]["self_mrr"] is None  # its own index has no teacher vectors
