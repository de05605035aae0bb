"""A pass over pairs that ends in sums: several processes can make it together, each over a share of the pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, TypeVar

from torch import Tensor

from alignkit.heads.moments import CenteredMoments, Moments
from alignkit.heads.streaming import Batches, weights_of

Features = Callable[[Iterable[tuple[Tensor, Tensor]]], Iterator[tuple[Tensor, Tensor]]]


class Sums(Protocol):
    """What a pass ends in."""

    def all_reduce(self) -> Self:
        """The sums over all processes of `torch.distributed`, each with its own pairs; the same in every process."""
        ...


SumsType = TypeVar("SumsType", bound=Sums)
Pass = Callable[[Batches], SumsType]


def summed(batches: Batches, work: Pass[SumsType]) -> SumsType:
    """What `work` sums up over all pairs.

    Args:
        batches: the pairs. Those that several processes share have a `summed` of their own; the other processes then
            run `work` too, each on its share.
        work: of a share of the pairs; it is pickled for the other processes.
    """
    shared: Callable[[Pass[SumsType]], SumsType] | None = getattr(batches, "summed", None)
    return work(batches) if shared is None else shared(work)


def moments_of(batches: Batches, features: Features | None = None) -> CenteredMoments:
    """Moments of all pairs, in one pass.

    Args:
        batches: the pairs.
        features: of the students, in their place; `None` takes these as they are.
    """
    return summed(batches, functools.partial(_moments, features=features)).centered()


def _moments(batches: Batches, features: Features | None) -> Moments:
    return Moments.of(batches if features is None else features(batches), weights_of(batches))
