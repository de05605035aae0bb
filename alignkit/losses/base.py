"""What every loss promises.

To add a loss: `losses/<name>.py` with one class, and `conf/loss/<name>.yaml`. No edit elsewhere.
"""

from __future__ import annotations

from torch import Tensor, nn

from alignkit.errors import DataError
from alignkit.shapes import check_shapes


class Loss(nn.Module):
    """How far a batch's aligned vectors are from the teacher's, as one number to minimise.

    Calling a loss checks the shapes first, so a subclass writes nothing but its formula in `forward`.

    Attributes:
        needs_negatives: the loss is undefined without hard negatives; training refuses pairs that have none.
        uses_negatives: `forward` is given the hard negatives of pairs that have them.
        compares_batch: the value depends on which sentences share a batch, so processes that train together gather
            their batches first.
    """

    needs_negatives: bool = False
    uses_negatives: bool = False
    compares_batch: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.register_forward_pre_hook(_check_batch, with_kwargs=True)

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """Compare a batch.

        Args:
            aligned: `(B, teacher_dim)`, the head's output, not normalised.
            teacher: `(B, teacher_dim)`; row i is the same sentence as row i of `aligned`.
            negatives: `(B, K, teacher_dim)`, teacher vectors that row i must not be mistaken for; zero rows are
                padding.

        Returns:
            A scalar; 0 is perfect unless the loss says otherwise.

        Raises:
            DataError: if the shapes do not fit together or the batch is empty.
        """
        raise NotImplementedError


def _check_batch(loss: nn.Module, given: tuple, named: dict[str, Tensor | None]) -> None:
    batch = {**dict(zip(("aligned", "teacher", "negatives"), given, strict=False)), **named}
    axes = {"aligned": "B D", "teacher": "B D", "negatives": "B K D"}
    check_shapes(**{name: (array, axes[name]) for name, array in batch.items() if array is not None})
    if not len(batch["aligned"]):
        raise DataError(f"{type(loss).__name__}: the batch is empty; expected at least one pair")
