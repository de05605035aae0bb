"""A closed form that goes on from sums is the one of all pairs together."""

import numpy as np
import pytest
import torch

from alignkit.errors import ArtifactError, DataError
from alignkit.heads.kept_moments import KeptMoments, Updatable
from alignkit.heads.linear import LinearHead
from alignkit.heads.low_rank import LowRankHead
from alignkit.heads.moments import Moments
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.heads.streaming import TensorBatches
from alignkit.parts import build_part, group_choices, settings_of_part
from alignkit.vectors import l2_normalize

STUDENT, TEACHER = 12, 20
HEADS = {
    "linear": (LinearHead, {}),
    "low_rank": (LowRankHead, {"rank": 6}),
    # a weaker λ magnifies the rounding of float32 sums, in a fit on all pairs as well
    "random_features": (RandomFeaturesHead, {"features": 64, "ridge_lambda": 0.01}),
}


def pairs(count, seed, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(STUDENT, TEACHER, generator=torch.Generator().manual_seed(9))
    student = torch.randn(count, STUDENT, generator=generator) + offset
    return student, l2_normalize(student.tanh() @ mixing + 0.1 * torch.randn(count, TEACHER, generator=generator))


def batches(*parts, weights=None):
    return TensorBatches(*(torch.cat(side) for side in zip(*parts, strict=True)), 64, weights)


OLD, NEW, ASKED = pairs(400, 1), pairs(90, 2, offset=1.5), pairs(50, 3)[0]


@pytest.fixture(params=HEADS)
def solved(request):
    """A head's maker, what was chosen, and the sums of the old pairs."""
    kind, arguments = HEADS[request.param]

    def make():
        torch.manual_seed(0)
        return kind(STUDENT, TEACHER, **arguments)

    chosen, kept = make().solve_keeping(batches(OLD), batches(pairs(80, 4)))
    return make, chosen, kept


def answers(make, kept, chosen):
    head = make()
    assert head.solve_from(kept, chosen) == chosen
    with torch.no_grad():
        return l2_normalize(head(ASKED)).numpy()


def of_all_together(kept, *parts):
    """The sums of all pairs by one pass over them, in the same space."""
    space = kept.space
    together = batches(*parts)
    return KeptMoments(Moments.of(space.batches(together) if space else together).centered(), space)


def test_new_pairs_give_the_fit_on_all_pairs_together(solved):
    make, chosen, kept = solved
    updated = answers(make, kept.with_pairs(batches(NEW)), chosen)
    np.testing.assert_allclose(updated, answers(make, of_all_together(kept, OLD, NEW), chosen), atol=1e-6)
    assert np.abs(updated - answers(make, kept, chosen)).max() > 1e-2  # or nothing was added


def test_pairs_that_are_taken_out_leave_the_fit_without_them(solved):
    make, chosen, kept = solved
    both = of_all_together(kept, OLD, NEW)
    rest = answers(make, both.without_pairs(batches(NEW)), chosen)
    np.testing.assert_allclose(rest, answers(make, of_all_together(kept, OLD), chosen), atol=2e-6)


def test_ten_small_updates_are_one_large_one(solved):
    make, chosen, kept = solved
    one = answers(make, kept.with_pairs(batches(NEW)), chosen)
    for start in range(0, 90, 9):
        kept = kept.with_pairs(batches(tuple(side[start : start + 9] for side in NEW)))
    np.testing.assert_allclose(answers(make, kept, chosen), one, atol=1e-6)


def test_a_common_mean_far_from_zero_costs_no_precision():
    old, new = ((student + 300, teacher) for student, teacher in (OLD, NEW))
    chosen, kept = LinearHead(STUDENT, TEACHER).solve_keeping(batches(old))
    merged, together = kept.with_pairs(batches(new)).moments, Moments.of(batches(old, new)).centered()
    scale = float(together.gram.diagonal().max())
    np.testing.assert_allclose(merged.gram, together.gram, atol=1e-5 * scale)
    np.testing.assert_allclose(merged.cross, together.cross, atol=1e-5 * scale)
    assert merged.teacher_variation == pytest.approx(together.teacher_variation, rel=1e-6)
    rest = merged.without(Moments.of(batches(new)).centered())
    np.testing.assert_allclose(rest.gram, kept.moments.gram, atol=1e-5 * scale)
    np.testing.assert_allclose(rest.teacher_mean, kept.moments.teacher_mean, atol=1e-9)
    assert rest.teacher_variation == pytest.approx(kept.moments.teacher_variation, rel=1e-6)
    assert rest.count == 400


def test_weights_count_in_updates_too():
    weights = torch.full((90,), 0.25)
    kept = LinearHead(STUDENT, TEACHER).solve_keeping(batches(OLD))[1].with_pairs(batches(NEW, weights=weights))
    together = Moments.of(batches(OLD, NEW), torch.cat([torch.ones(400), weights])).centered()
    assert kept.moments.count == pytest.approx(422.5)
    np.testing.assert_allclose(kept.moments.cross, together.cross, atol=1e-4)


def test_all_pairs_cannot_be_taken_out(solved):
    with pytest.raises(DataError, match="none would be left"):
        solved[2].without_pairs(batches(OLD))


def test_what_is_stored_comes_back_and_what_is_damaged_does_not(solved):
    make, chosen, kept = solved
    stored = kept.tensors()
    np.testing.assert_array_equal(answers(make, KeptMoments.of_tensors(stored), chosen), answers(make, kept, chosen))
    lacking = {name: tensor for name, tensor in stored.items() if name != "gram"}
    narrow = {**stored, "cross": stored["cross"][:-1]}
    broken = {**stored, "gram": stored["gram"] * torch.nan}
    for damaged in (lacking, narrow, broken):
        with pytest.raises(ArtifactError, match="sums"):
            KeptMoments.of_tensors(damaged)


def test_sums_of_other_features_are_refused():
    kept = RandomFeaturesHead(STUDENT, TEACHER, features=64).solve_keeping(batches(OLD))[1]
    with pytest.raises(ArtifactError, match="other features than the 32"):
        RandomFeaturesHead(STUDENT, TEACHER, features=32).solve_from(kept, {"ridge_lambda": 0.1})


def test_heads_that_go_on_from_sums_are_these():
    made = {}
    for name in set(group_choices("model")) - {"auto"}:
        settings = settings_of_part("model", name, 0)
        made[name] = build_part({key: settings[key] for key in settings if key not in ("init", "recipe")})
    found = {name for name, make in made.items() if isinstance(make(student_dim=8, teacher_dim=9), Updatable)}
    assert found == set(HEADS)
