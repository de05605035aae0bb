"""Rows of a head whose queries are whitened: finding is of what is served, likeness of the head itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.requirements import failed_requirements
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import set_of_pairs
from alignkit.reporting.remarks import notes_of
from alignkit.reporting.verdict_words import verdict_words
from alignkit.training.whitening_choice import choose_whitening


@pytest.fixture(scope="module")
def whitened_head():
    """Of the static student, which gains most by it."""
    splits = load_demo("static")
    student, teacher = (
        torch.from_numpy(np.array(part, dtype=np.float32)) for part in (splits.train.student, splits.train.teacher)
    )
    head = LinearHead(256, 384)
    head.solve(TensorBatches(student, teacher))
    head = head.eval().requires_grad_(False)
    part = choose_whitening(head, splits).part
    return splits, head, part


@pytest.fixture(scope="module")
def whitened(whitened_head):
    splits, head, part = whitened_head
    test = set_of_pairs(splits.test, splits.origin)
    plain, both = ({"query_head": head}, {"query_head": head, "whitening": part})
    return compare(test, Artifact(plain)), compare(test, Artifact(both))


@pytest.fixture(scope="module")
def without_labels(whitened_head):
    """The same two, where nothing says what is relevant."""
    splits, head, part = whitened_head
    test = set_of_pairs(replace(splits.test, labels=None, groups=None), splits.origin)
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


def test_agreement_with_the_teacher_is_judged_by_plain_queries(without_labels):
    plain, served = without_labels
    assert served.rows["aligned"]["overlap@10"] < served.rows["aligned_plain"]["overlap@10"]
    before, now = plain.verdict.evidence, served.verdict.evidence
    assert now.measure == "overlap@10" and (now.product, now.judged) == ("aligned", "aligned_plain")
    assert (now.share, now.gain) == (before.share, before.gain)
    reasons = verdict_words(served.verdict).reasons
    assert reasons[0].startswith("aligned_plain keeps") and "aligned_plain stands for aligned" in reasons[-1]
    assert before.judged == "aligned" and not any("stands for" in one for one in verdict_words(plain.verdict).reasons)
    # so are the requirements of a run in continuous integration
    least = {"share_of_teacher": now.share.value - 0.001}
    assert not failed_requirements(served, least) and served.to_json()["meta"]["judged"] == "aligned_plain"


def test_what_is_found_is_judged_by_what_is_served(whitened):
    evidence = whitened[1].verdict.evidence
    assert evidence.measure == "ndcg@10" and evidence.judged == evidence.product == "aligned"
