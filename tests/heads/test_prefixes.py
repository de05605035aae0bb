"""Of a teacher whose leading dimensions are meaningful alone, the head's leading dimensions are so too."""

import functools

import numpy as np
import pytest
import torch

from alignkit.embedders.base import embed_all
from alignkit.embedders.static import StaticEmbedder
from alignkit.heads.kernel import KernelHead
from alignkit.heads.linear import LinearHead
from alignkit.heads.local_mixture import LocalMixtureHead
from alignkit.heads.low_rank import LowRankHead
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.heads.streaming import TensorBatches
from alignkit.metrics.alignment import overlap_at_k
from alignkit.pairs.demo import load_demo
from alignkit.vectors import cosine, l2_normalize

WIDTH = 96
HEADS = {
    "linear": LinearHead,
    "low_rank": functools.partial(LowRankHead, energy=1.0),
    "local_mixture": functools.partial(LocalMixtureHead, regions=4),
    "random_features": functools.partial(RandomFeaturesHead, features=256, bandwidth=1.0),
    "kernel": functools.partial(KernelHead, landmarks=256, bandwidth=1.0),
}


@pytest.fixture(scope="module")
def splits_of():
    """Makes pairs of the demo pack with a teacher whose dimensions are in order.

    MiniLM turned into its principal axes: a rotation keeps all cosines. WordLlama was trained to be truncated.
    """
    return functools.cache(ordered)


def ordered(teacher):
    demo = load_demo()
    parts = (demo.train, demo.validation, demo.test)
    students = [torch.tensor(np.asarray(part.student)).float() for part in parts]
    if teacher == "minilm":
        teachers = [l2_normalize(torch.tensor(np.asarray(part.teacher)).float()) for part in parts]
        axes = torch.linalg.svd(teachers[0] - teachers[0].mean(dim=0), full_matrices=False)[2]
        teachers = [teacher @ axes.T for teacher in teachers]
    else:
        pytest.importorskip("wordllama")
        teachers = [l2_normalize(torch.from_numpy(embed_all(StaticEmbedder(), part.texts))) for part in parts]
    return list(zip(students, teachers, strict=True))


def leading(vectors):
    return l2_normalize(vectors[:, :WIDTH])


@pytest.mark.parametrize(("teacher", "name"), [*(("minilm", name) for name in HEADS), ("wordllama", "linear")])
def test_a_prefix_is_as_good_as_a_head_solved_for_that_width(teacher, name, splits_of):
    (student, teacher), (held_student, held_teacher), (asked, wanted) = splits_of(teacher)
    whole = HEADS[name](student.shape[1], teacher.shape[1])
    whole.solve(TensorBatches(student, teacher), TensorBatches(held_student, held_teacher))
    own = HEADS[name](student.shape[1], WIDTH)
    own.solve(TensorBatches(student, leading(teacher)), TensorBatches(held_student, leading(held_teacher)))
    with torch.no_grad():
        prefix, trained = leading(whole(asked)), own(asked)
    expected = leading(wanted)
    likeness = [float(cosine(vectors, expected).mean()) for vectors in (prefix, trained)]
    found = [float(overlap_at_k(vectors, expected, k=10).mean()) for vectors in (prefix, trained)]
    print(f"\n{name}: {WIDTH} dimensions, cosine {likeness}, overlap@10 {found} (prefix, trained for it)")
    assert likeness[0] > likeness[1] - 0.005
    assert found[0] > found[1] - 0.01
    assert found[0] > 0.4  # a case that can fail
