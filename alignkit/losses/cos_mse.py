"""Cosine distance plus a little squared error: the direction matters most, and the length stays bounded."""

from __future__ import annotations

from torch import Tensor

from alignkit.losses.base import Loss
from alignkit.losses.row_cosines import cosine_and_square
from alignkit.setting_rules import check, number_from


class CosMseLoss(Loss):
    """`mean(1 − cos(aligned, teacher)) + mse_weight · mean((aligned − teacher/|teacher|)²)`.

    The squared error takes the head's unnormalised output. Between two normalised vectors it would be the cosine
    again.

    Args:
        mse_weight: weight of the squared error, at least 0; the mean is over batch and dimensions.

    Source: the sum is this project's own. Its parts are those of `cosine` (Sanh et al., 2019) and `mse` (Reimers and
    Gurevych, EMNLP 2020, eq. 1, a mean over the batch).
    """

    def __init__(self, mse_weight: float = 0.1) -> None:
        super().__init__()
        check({"mse_weight": mse_weight}, {"mse_weight": number_from(0)})
        self.mse_weight = mse_weight

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, teacher_dim)`, `teacher (B, teacher_dim)` → scalar; `negatives` are not used."""
        # the mean over dimensions too, of what is summed over them
        return cosine_and_square(aligned, teacher, self.mse_weight / aligned.shape[1])
