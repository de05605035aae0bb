"""The digest of a set: the same for the same texts, another for any other."""

from dataclasses import replace

import numpy as np
import pytest

from alignkit.evaluation.set_digest import set_digest as digest
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.evaluation_set import EvaluationSet, Side


@pytest.fixture
def measured():
    generator = np.random.default_rng(0)
    queries = Side(generator.standard_normal((4, 3)), generator.standard_normal((4, 5)), ["a", "b", "c", "d"])
    corpus = Side(generator.standard_normal((6, 3)), generator.standard_normal((6, 5)))
    return EvaluationSet(queries, corpus, np.full(4, -1), Qrels.of([0, 1], [2, 3], [1, 2], (4, 6)))


def test_another_student_is_no_other_set(measured):
    other = replace(measured.queries, student=measured.queries.student + 1)
    assert digest(replace(measured, queries=other)) == digest(measured)
    assert len(digest(measured)) == 16


def test_anything_else_is(measured):
    corpus = measured.corpus
    others = [
        replace(measured, queries=replace(measured.queries, texts=["a", "b", "c", "e"])),
        replace(measured, corpus=replace(corpus, teacher=-np.asarray(corpus.teacher))),
        replace(measured, qrels=Qrels.of([0, 1], [2, 3], [1, 1], (4, 6))),
        replace(measured, qrels=None, labels=list("aabb")),
        replace(measured, itself=np.arange(4)),
    ]
    assert len({digest(one) for one in (measured, *others)}) == 6
