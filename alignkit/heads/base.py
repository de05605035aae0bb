"""The interface of every head, and how one is found by its name.

To add a head: `heads/<kind>.py` with the class `<Kind>Head(Head)`, and `conf/model/<kind>.yaml`. No edit elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, get_type_hints, runtime_checkable

import torch
from torch import Tensor, nn

from alignkit.errors import ArtifactError
from alignkit.heads.streaming import Batches
from alignkit.setting_rules import check, of_type


class Part(nn.Module):
    """A module stored in an artifact and rebuilt from its kind, arguments and weights.

    Every constructor argument is a plain JSON value and is kept as an attribute of its own name. Parameters and buffers
    are in the state dict, all of them.

    Attributes:
        student_dim: width of the vectors it takes.
    """

    student_dim: int

    @classmethod
    def kind(cls) -> str:
        """Its name in artifacts, which is also the name of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """A part with these arguments, as given by `arguments` of this or an older version."""
        return cls(**arguments)

    def taken_over(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights that an older version may have saved, converted to this version's form."""
        return weights

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments, plain JSON values; `type(self)(**self.arguments())` has this part's shape."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __call__(self, student: Tensor) -> Tensor:
        """`forward`, of vectors in any float type; the output has the type of the weights."""
        dtype = next(self.parameters()).dtype
        if student.dtype != dtype:  # no cast at all where none is needed: an exported graph then has none either
            student = student.to(dtype)
        return super().__call__(student)


class Head(Part):
    """Maps student vectors to teacher space; what it does to them first (centring, normalising) is inside it.

    Attributes:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        closed_form_is_whole: whether the closed form, if there is one, sets all weights; if not, it is only where
            training starts.
    """

    teacher_dim: int
    closed_form_is_whole: ClassVar[bool] = True

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`, not normalised."""
        raise NotImplementedError

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """The linear layers whose sum is the output, so that an affine map of the output can be folded into them.

        The first one has a bias. A layer that stacks several maps, averaged in the output with weights that sum to 1,
        comes after it.
        """
        raise NotImplementedError

    def look(self, train: Batches) -> None:  # noqa: B027 - most heads take vectors as they come
        """Gather what the head needs to know of its students (their mean, say) before training from a random start.

        Args:
            train: the training pairs; streamed.
        """

    def rates(self) -> dict[str, float]:
        """Learning rates of its layers: the beginning of a parameter's name → factor of the recipe's rate.

        The first match counts; a parameter without a match has the recipe's rate.
        """
        return {}

    def members(self) -> tuple[Head, ...]:
        """The heads that it is the average of, if it is one."""
        return ()

    def take_over(self, members: Sequence[Head], student: Tensor) -> None:  # noqa: B027 - most heads are no average
        """Become the average of heads that were fitted alone, which takes no fit of its own.

        Args:
            members: fitted, of the kinds and the arguments of `members()`; left as they are.
            student: `(N, student_dim)`, students that none of them was fitted on.
        """

    def cost(self) -> dict[str, int]:
        """The head's cost: `parameters` (all stored numbers) and `flops_per_query` (of its matrix products)."""
        from alignkit.heads.flops import CountedFlops

        first, training = next(self.parameters()), self.training
        self.eval()  # some heads do less while they train
        with torch.no_grad(), CountedFlops() as counter:
            self(first.new_zeros(1, self.student_dim))
        self.train(training)
        stored = sum(tensor.numel() for tensor in self.state_dict().values())
        return {"parameters": stored, "flops_per_query": counter.flops}

    def solve_flops(self, pairs: int) -> float:
        """Approximate number of operations of a closed form on this many pairs, to estimate its time beforehand."""
        return 2.0 * pairs * self.student_dim * (self.student_dim + self.teacher_dim) + 20.0 * self.student_dim**3


@runtime_checkable
class ClosedForm(Protocol):
    """A head with a closed-form solution."""

    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Set the parameters from data, in place.

        Args:
            train: what to solve on; streamed.
            validation: what to choose the strength of regularisation (and the like) on; without it every tenth pair
                of `train` is held out to choose on, and then all pairs are solved: that is three times as many passes.
            chosen: what an earlier call returned: nothing is chosen again. For solving once more on all pairs.

        Returns:
            What was chosen, plain JSON values, e.g. `{"ridge_lambda": 0.1}`.
        """
        ...


def part_class(kind: str) -> type[Part]:
    """The class of a part by the name of its file; nothing outside `alignkit.heads` is ever imported.

    Raises:
        ArtifactError: if there is no such part.
    """
    if re.fullmatch(r"[a-z][a-z0-9_]*", kind):
        try:
            module = importlib.import_module(f"alignkit.heads.{kind}")
        except ModuleNotFoundError:
            module = None
        stem = "".join(part.capitalize() for part in kind.split("_"))
        for name in (f"{stem}Head", f"{stem}Estimate"):
            found = getattr(module, name, None)
            if isinstance(found, type) and issubclass(found, Part):
                return found
    raise ArtifactError(
        f"unknown head '{kind}'; this version of alignkit has no alignkit.heads.{kind}; upgrade alignkit"
    )


def head_class(kind: str) -> type[Head]:
    """The class of a head by the name of its file.

    Raises:
        ArtifactError: if there is no such head.
    """
    found = part_class(kind)
    if not issubclass(found, Head):
        raise ArtifactError(f"'{kind}' is a part of an artifact and no head: it does not map to the teacher's space")
    return found


def check_argument_types(make_head: Callable[..., Head], arguments: Mapping[str, Any]) -> None:
    """Refuse a text or a fraction where a head's constructor asks for a number or a whole one.

    Args:
        make_head: the head's class.
        arguments: of its constructor, by name.

    Raises:
        ConfigError: naming the first that does not fit its annotation.
    """
    hints = get_type_hints(make_head.__init__)
    check(arguments, {name: of_type(hint) for name, hint in hints.items() if name != "return"})
