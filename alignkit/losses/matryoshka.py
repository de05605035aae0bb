"""Another loss, applied to leading dimensions as well, so that truncated vectors still fit a truncated index."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.losses.base import Loss

# a single dimension has a sign and no direction
FEWEST_DIMENSIONS = 2


class MatryoshkaLoss(Loss):
    """`mean over p of loss(aligned[:, :p], teacher[:, :p])`.

    Useful if the teacher itself was trained to be truncated.

    Args:
        loss: the loss to apply to each prefix; it does its own normalising.
        prefixes: fractions are shares of the teacher's width, in (0, 1]; whole numbers count leading dimensions, at
            least 2. A bare 1 among shares means the whole width.

    Source: Kusupati et al., Matryoshka representation learning, NeurIPS 2022, eq. 1.
    """

    def __init__(self, loss: nn.Module, prefixes: Sequence[float] = (1.0, 0.5, 0.25)) -> None:
        super().__init__()
        prefixes = _read(prefixes)
        # a copy for each prefix, because a memory bank holds vectors of one width
        self.losses = nn.ModuleList(copy.deepcopy(loss) for _ in prefixes)
        self.prefixes = prefixes
        self.needs_negatives = getattr(loss, "needs_negatives", False)
        self.uses_negatives = getattr(loss, "uses_negatives", False)
        self.compares_batch = getattr(loss, "compares_batch", False)

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)`, `negatives (B, K, D)` or `None` → scalar."""
        total = aligned.new_zeros(())
        for loss, width in zip(self.losses, self._widths(teacher.shape[-1]), strict=True):
            cut = None if negatives is None else negatives[..., :width]
            total = total + loss(aligned[..., :width], teacher[..., :width], cut)
        return total / len(self.prefixes)

    def _widths(self, teacher_dim: int) -> list[int]:
        widths = [round(p * teacher_dim) if isinstance(p, float) else p for p in self.prefixes]
        if max(widths) > teacher_dim:
            raise ConfigError(f"prefixes={list(self.prefixes)}: the teacher has only {teacher_dim} dimensions")
        for prefix, width in zip(self.prefixes, widths, strict=True):
            if width < FEWEST_DIMENSIONS:
                raise ConfigError(
                    f"prefixes={list(self.prefixes)}: {prefix} of {teacher_dim} dimensions is {width}; expected at "
                    f"least {FEWEST_DIMENSIONS}, because fewer have no direction"
                )
        return widths


def _read(prefixes: Sequence[float]) -> tuple[float, ...]:
    """Shares as floats, widths as ints.

    >>> _read([1, 0.5, 0.25]), _read([64, 1.0])
    ((1.0, 0.5, 0.25), (64, 1.0))
    """
    prefixes = list(prefixes) if isinstance(prefixes, Sequence) and not isinstance(prefixes, str) else [prefixes]
    # people write `[1, 0.5]`: if all others are shares, 1 means the whole width
    if any(isinstance(one, float) for one in prefixes) and all(isinstance(one, float) or one == 1 for one in prefixes):
        prefixes = [float(one) if type(one) is int else one for one in prefixes]
    if not prefixes or not all(map(_is_prefix, prefixes)):
        raise ConfigError(
            f"prefixes={prefixes}: expected shares above 0 and at most 1, such as 0.5, or whole numbers of dimensions, "
            f"at least {FEWEST_DIMENSIONS}; write 1.0 for the whole width"
        )
    return tuple(prefixes)


def _is_prefix(value: object) -> bool:
    if isinstance(value, float):
        return 0 < value <= 1
    return isinstance(value, int) and not isinstance(value, bool) and value >= FEWEST_DIMENSIONS
