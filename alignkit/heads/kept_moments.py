"""Sums over pairs that outlive the pairs: a closed form goes on from them when new pairs come or old ones must go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from alignkit.errors import ArtifactError
from alignkit.heads.feature_space import FeatureSpace
from alignkit.heads.held_out import CORPUS, HeldOut
from alignkit.heads.moments import CenteredMoments
from alignkit.heads.streaming import Batches, sample_pairs
from alignkit.heads.sums import moments_of

LAMBDA = "ridge_lambda"


@dataclass(frozen=True)
class KeptMoments:
    """Moments of all pairs that a head was solved on.

    Attributes:
        moments: of the students, or of their features.
        space: of the features; `None` where the students are taken as they are. It stays as the first pairs made it.
    """

    moments: CenteredMoments
    space: FeatureSpace | None = None

    def with_pairs(self, pairs: Batches) -> Self:
        """With further pairs, in one pass over these alone."""
        return replace(self, moments=self.moments.joined(self._of(pairs)))

    def without_pairs(self, pairs: Batches) -> Self:
        """Without some of the pairs.

        Raises:
            DataError: if nothing would be left.
        """
        return replace(self, moments=self.moments.without(self._of(pairs)))

    def to(self, device: torch.device) -> Self:
        """All numbers on that device."""
        return self.of_tensors({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def _of(self, pairs: Batches) -> CenteredMoments:
        return moments_of(pairs, None if self.space is None else self.space.batches)

    def tensors(self) -> dict[str, Tensor]:
        """All numbers by name, as they are stored; those of the space begin with `space.`."""
        parts: list[tuple[str, Any]] = [("", self.moments)]
        if self.space is not None:
            parts.append(("space.", self.space))
        found = {f"{prefix}{one.name}": getattr(part, one.name) for prefix, part in parts for one in fields(part)}
        return {
            name: value.contiguous() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            for name, value in found.items()
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """From what `tensors` gave.

        Raises:
            ArtifactError: if numbers are missing, not finite, or do not fit together.
        """
        try:
            moments = CenteredMoments(**_fields_of(CenteredMoments, tensors, ""))
            has_space = any(name.startswith("space.") for name in tensors)
            space = FeatureSpace(**_fields_of(FeatureSpace, tensors, "space.")) if has_space else None
            width, teacher_dim = len(moments.student_mean), len(moments.teacher_mean)
            fit = moments.gram.shape == (width, width) and moments.cross.shape == (width, teacher_dim)
            if space is not None:
                student_dim = len(space.mean)
                fit &= space.width == width and space.stretch.shape == (student_dim, student_dim)
                fit &= space.directions.shape == (width - student_dim, student_dim)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"sums are missing ({' '.join(str(error).split())[:80]})") from None
        if not fit:
            raise ArtifactError("sums do not fit together")
        if moments.count <= 0 or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ArtifactError("sums are of no pairs, or hold NaN or infinite numbers")
        return cls(moments, space)


@runtime_checkable
class Updatable(Protocol):
    """A head whose closed form needs sums over the pairs alone."""

    def solve_keeping(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], KeptMoments]:
        """As `ClosedForm.solve`; also gives the sums that the solution was made from."""
        ...

    def solve_from(self, kept: KeptMoments, chosen: dict[str, Any]) -> dict[str, Any]:
        """Set the parameters from sums, in place.

        Args:
            kept: of `solve_keeping` of a head with the same arguments, with or without further pairs.
            chosen: what that call chose.

        Returns:
            What holds now; nothing is chosen again.
        """
        ...

    def choose_lambda(self, kept: KeptMoments, held_out: HeldOut) -> float:
        """The λ that does best on held-out pairs.

        Args:
            kept: as `solve_from` takes it, without the held-out pairs.
            held_out: of any pairs that the sums do not hold.
        """
        ...


def go_on(
    head: Updatable, earlier: KeptMoments, chosen: Mapping[str, Any], pairs: Batches | None,
    validation: Batches | None = None,
) -> tuple[dict[str, Any], KeptMoments]:  # fmt: skip
    """Solve a head from the sums of earlier pairs and of new ones.

    Args:
        head: with the arguments of the head that the sums are of.
        earlier: the sums.
        chosen: with them; a λ of `None` is chosen again, on the sums of all pairs.
        pairs: new ones, for one pass; `None` adds nothing.
        validation: held-out pairs, needed to choose λ.

    Returns:
        What holds now, and the sums of all pairs.
    """
    settled = dict(chosen)
    kept = earlier if pairs is None else earlier.with_pairs(pairs)
    if settled[LAMBDA] is None and pairs is not None and validation is not None:
        settled[LAMBDA] = head.choose_lambda(kept, HeldOut.of(validation, sample_pairs(pairs, CORPUS)[1]))
    return head.solve_from(kept, settled), kept


def _fields_of(kind: type, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    found = {one.name: tensors[f"{prefix}{one.name}"] for one in fields(kind)}
    return {name: float(value) if value.ndim == 0 else value for name, value in found.items()}
