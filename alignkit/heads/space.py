"""Ridge regression on features of a kernel: what all kinds of such features share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from torch import Tensor

from alignkit.heads.held_out import HeldOut
from alignkit.heads.moments import CenteredMoments
from alignkit.heads.ridge import ridge_moments
from alignkit.heads.streaming import Batches, EvenSample, TensorBatches, hold_out, unit_students, weights_of
from alignkit.heads.sums import moments_of
from alignkit.vectors import l2_normalize


@dataclass(frozen=True, kw_only=True)
class Space:
    """Features of a student's vector, made in the space of `z = M·(s/|s| − mean)`.

    Attributes:
        mean: `(student_dim,)` of the students scaled to length 1.
        stretch: `M (student_dim, student_dim)`, see `learn_stretch`.
        bandwidth: of the kernel, relative to the median distance between training sentences.
    """

    mean: Tensor
    stretch: Tensor
    bandwidth: float = 1.0

    def __call__(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, F)`, float32."""
        raise NotImplementedError

    def stretched(self, student: Tensor) -> Tensor:
        """`z (B, student_dim)`, float32."""
        return (l2_normalize(student.float()) - self.mean) @ self.stretch

    def batches(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs with features in place of students."""
        return ((self(student), teacher) for student, teacher in pairs)


SpaceType = TypeVar("SpaceType", bound=Space)


@dataclass(frozen=True)
class Search(Generic[SpaceType]):
    """How one kind of features finds its settings.

    Attributes:
        space_of: moments of the pairs, students of the sample → the space.
        choose_bandwidth: the space, the sample, held-out sentences, λ or `None` → the bandwidth, and λ to start from.
        choose_lambda: the space, moments of its features, held-out sentences, λ to start from → λ.
        usual_lambda: to start from where the bandwidth is given.
        sample: pairs at most of the sample.
    """

    space_of: Callable[[CenteredMoments, Tensor], SpaceType]
    choose_bandwidth: Callable[[SpaceType, TensorBatches, HeldOut, float | None], tuple[float, float]]
    choose_lambda: Callable[[SpaceType, CenteredMoments, HeldOut, float], float]
    usual_lambda: float
    sample: int


def settle(
    search: Search[SpaceType], train: Batches, validation: Batches | None, settled: dict[str, Any]
) -> tuple[SpaceType, CenteredMoments, dict[str, Any]]:
    """Learn the space, then what is open of its bandwidth and λ. Two passes: the space, then its features.

    Args:
        search: of this kind of features.
        train: what to solve on; streamed.
        validation: see `ClosedForm.solve`.
        settled: `bandwidth` and `ridge_lambda`; `None` for what is to be chosen.

    Returns:
        The space, the moments of its features, and what was settled.
    """
    is_open = None in settled.values()
    if is_open and validation is None:
        fit, validation = hold_out(train)
        return settle(search, train, None, settle(search, fit, validation, settled)[2])
    sample = EvenSample(len(train), search.sample, weights_of(train))
    moments = ridge_moments(sample.watch(train), unit_students)
    student, teacher = sample.pairs()
    space = search.space_of(moments, student)
    held_out = HeldOut.of(validation, teacher) if is_open and validation is not None else None
    bandwidth, ridge_lambda = settled["bandwidth"], settled["ridge_lambda"]
    start = ridge_lambda or search.usual_lambda
    if held_out is not None and bandwidth is None:
        few = TensorBatches(student, teacher, weights=sample.weights)
        bandwidth, start = search.choose_bandwidth(space, few, held_out, ridge_lambda)
    space = replace(space, bandwidth=bandwidth)
    moments = moments_of(train, space.batches)
    if held_out is not None and ridge_lambda is None:
        ridge_lambda = search.choose_lambda(space, moments, held_out, start)
    return space, moments, {"bandwidth": bandwidth, "ridge_lambda": ridge_lambda}
