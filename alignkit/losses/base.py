"""What every loss promises.

To add a loss: `losses/<name>.py` with one class, and `conf/loss/<name>.yaml`. No edit elsewhere.
"""

from __future__ import annotations

from torch import Tensor, nn

from alignkit.errors import ConfigError


class Loss(nn.Module):
    """How far a batch's aligned vectors are from the teacher's, as one number to minimise.

    Attributes:
        needs_negatives: it makes no sense without hard negatives; training refuses pairs that have none.
        uses_negatives: hard negatives are handed to `forward` where the pairs have them.
        compares_batch: sentences of a batch are compared with each other, so that it matters which ones are together;
            several processes that train together gather their batches first.
    """

    needs_negatives: bool = False
    uses_negatives: bool = False
    compares_batch: bool = False

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Compare a batch.

        Args:
            aligned: `(B, teacher_dim)`, the head's output, not normalised.
            teacher: `(B, teacher_dim)`, row i belongs to row i of `aligned`.
            negatives: `(B, K, teacher_dim)` teacher vectors that row i must not be mistaken for; a zero row pads.

        Returns:
            A scalar; 0 would be perfect unless the loss says otherwise.
        """
        raise NotImplementedError


def check_positive(**numbers: object) -> None:
    """Raise a `ConfigError` that names the first which is no number above 0."""
    for name, number in numbers.items():
        if not _is_number(number) or number == 0:
            raise ConfigError(f"{name}={number}: expected a number above 0")


def check_not_negative(**numbers: object) -> None:
    """Raise a `ConfigError` that names the first which is no number of at least 0."""
    for name, number in numbers.items():
        if not _is_number(number):
            raise ConfigError(f"{name}={number}: expected a number of at least 0")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
