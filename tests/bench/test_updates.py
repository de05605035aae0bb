"""What adding pairs to a closed form costs beside fitting all again: python -m pytest tests/bench -n0 -s."""

import time

import pytest
import torch

from alignkit.heads.linear import LinearHead
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.heads.streaming import TensorBatches
from alignkit.vectors import l2_normalize

OLD, NEW = 10_000, 1_000
CASES = {
    "ridge 896 to 3,584": (LinearHead, (896, 3584), {"ridge_lambda": 0.01}, 1.0),
    "random_features 4,096": (RandomFeaturesHead, (384, 1024), {"ridge_lambda": 0.01, "bandwidth": 1.0}, 10.0),
}


def batches(count, student_dim, teacher_dim, seed):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(count, student_dim, generator=generator)
    return TensorBatches(student, l2_normalize(torch.randn(count, teacher_dim, generator=generator)), 2048)


@pytest.mark.parametrize("name", CASES)
def test_new_pairs_cost_their_own_time(name, record_property):
    kind, widths, chosen, most_s = CASES[name]
    old, new = (batches(count, *widths, seed) for seed, count in enumerate((OLD, NEW)))
    head = kind(*widths)
    start = time.process_time()
    _, kept = head.solve_keeping(old, None, chosen)
    whole = time.process_time() - start
    start = time.process_time()
    head.solve_from(kept.with_pairs(new), chosen)
    update = time.process_time() - start
    print(f"\n{name}: {NEW:,} new pairs {update:.2f} s, the fit of {OLD:,} {whole:.2f} s of CPU")
    record_property("whole_s", whole)
    assert update < most_s and update < whole
