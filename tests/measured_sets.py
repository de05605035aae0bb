"""Fixtures: a head fitted on the demo pack, and sets to measure it on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.evaluation.floor_heads import mean_head
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.base import Origin
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import EvaluationSet, Side, set_of_pairs
from alignkit.vectors import l2_normalize


def ridge_of(student, teacher):
    """The closed form on all of these pairs."""
    student, teacher = torch.tensor(np.asarray(student)).float(), torch.tensor(np.asarray(teacher)).float()
    head = LinearHead(student.shape[1], teacher.shape[1])
    head.solve(TensorBatches(student, l2_normalize(teacher)))
    return head.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def demo_splits():
    return load_demo()


@pytest.fixture(scope="session")
def demo_set(demo_splits):
    return set_of_pairs(demo_splits.test, demo_splits.origin)


@pytest.fixture(scope="session")
def demo_head(demo_splits):
    return ridge_of(demo_splits.train.student, demo_splits.train.teacher)


@pytest.fixture(scope="session")
def demo_artifact(demo_head, demo_splits):
    identities = {key: getattr(demo_splits.origin, key) for key in ("student_identity", "teacher_identity")}
    return Artifact(parts={"query_head": demo_head}, **identities)


@pytest.fixture(scope="session")
def demo_baselines(demo_head, demo_splits):
    teacher = l2_normalize(torch.tensor(demo_splits.train.teacher).float())
    return {"ridge": demo_head, "mean": mean_head(demo_splits.train.student_dim, teacher.mean(dim=0))}


@pytest.fixture
def make_retrieval():
    """Queries near one corpus text each, in a student and a teacher space that a linear map joins."""

    def make(queries=120, corpus=400, seed=0, student_noise=0.0, **changes):
        generator = np.random.default_rng(seed)
        meaning = generator.normal(size=(corpus, 8))
        wanted = generator.integers(0, corpus, queries)
        asked = meaning[wanted] + 0.2 * generator.normal(size=(queries, 8))
        to_teacher = np.random.default_rng(7).normal(size=(8, 24))
        to_student = np.random.default_rng(8).normal(size=(8, 16))

        def side(points, name):
            student = points @ to_student + student_noise * generator.normal(size=(len(points), 16))
            texts = [f"{name} {row}" for row in range(len(points))]
            return Side((student + 1).astype(np.float32), (points @ to_teacher).astype(np.float32), texts)

        fields = {
            "queries": side(asked, "query"),
            "corpus": side(meaning, "text"),
            "itself": np.full(queries, -1),
            "qrels": Qrels.of(range(queries), wanted, [1] * queries, (queries, corpus)),
            "origin": Origin("made here", real=False, split="none"),
        }
        return EvaluationSet(**(fields | changes))

    return make
