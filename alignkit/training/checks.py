"""Finds settings that are incompatible with each other or with the pairs, before anything is written."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.heads.base import Head
from alignkit.heads.kept_moments import Updatable
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.setting_rules import check, one_of
from alignkit.training.run_settings import VALIDATION_FIGURES
from alignkit.vectors import l2_normalize

# figures that compare sentences with each other are undefined on fewer
FEWEST_PAIRS = {"val/overlap@10": 2, "val/spearman": 3}
# limits of a trial: a loss that fails on more pairs also fails on this many
TRIAL_ROWS, TRIALS = 64, 3
LEAST_GRADIENT = 1e-10
# enough for any loss to have something to compare
FEW_PAIRS = 4


def check_negatives(loss: nn.Module, splits: PairSplits) -> None:
    """Refuse a loss that needs hard negatives if the pairs have none.

    Raises:
        ConfigError: in that case.
    """
    if getattr(loss, "needs_negatives", False) and splits.train.negatives is None:
        raise ConfigError("this loss needs hard negatives and the data has none; take data=built or another loss")


def check_select_by(select_by: str, count: int) -> None:
    """Refuse a figure that is undefined on this many validation pairs.

    Raises:
        ConfigError: in that case.
    """
    check({"select_by": select_by}, {"select_by": one_of(VALIDATION_FIGURES)})
    if not count:
        raise ConfigError(
            "there are no validation pairs, on which λ and the kept state are chosen; expected at least one: give "
            "data.validation=0.1, or another share above 0"
        )
    if count < FEWEST_PAIRS.get(select_by, 1):
        raise ConfigError(
            f"select_by={select_by} is undefined on {count} validation pair(s); expected at least "
            f"{FEWEST_PAIRS[select_by]}: take select_by=val/loss, or more validation pairs"
        )


def check_keeps_moments(head: Head, init: str, pairs: Pairs) -> None:
    """Refuse to keep the sums of a head that is not solved from sums, or of pairs that count by weights.

    Raises:
        ConfigError: in these cases.
    """
    fix = "take model=linear, low_rank or random_features, or leave keep_moments out"
    if not isinstance(head, Updatable):
        raise ConfigError(
            f"keep_moments=true: the fit of the {head.kind()} head needs all pairs at once, and their sums do not "
            f"replace them; {fix}"
        )
    if init != "closed_form":
        raise ConfigError("keep_moments=true: model.init=random solves nothing; take model.init=closed_form")
    if pairs.weights is not None:
        raise ConfigError(
            "keep_moments=true: pairs of extra= count by a weight that was chosen for these own ones, and would keep "
            "it beside new ones; leave extra out, or keep_moments"
        )


def check_loss(loss: nn.Module, pairs: Pairs, batch_size: int, *, learns: bool) -> None:
    """Try the loss on batches of the teacher's vectors and made-up aligned ones.

    Args:
        loss: not modified.
        pairs: of the training split.
        batch_size: of all processes together.
        learns: whether it will be used for training, so that it needs a gradient.

    Raises:
        ConfigError: if the loss refuses the pairs, or nothing could be learned from it.
    """
    loss = copy.deepcopy(loss).train(learns)
    generator = torch.Generator().manual_seed(0)
    rows = _trial_rows(loss, pairs, batch_size)
    for _ in range(TRIALS):
        batch = np.roll(rows, 1)[:batch_size]  # with a memory bank, the first batch only fills it
        rows = np.roll(rows, 1)
        aligned = torch.randn(len(batch), pairs.teacher_dim, generator=generator).requires_grad_()
        value: Tensor = loss(aligned, *_teachers(loss, pairs, batch))
        if not learns:
            return
        if value.requires_grad:
            value.backward()
        # multiplied by the length of `aligned`, so that it has no unit; rounding alone gives 1e-13 and less
        if aligned.grad is not None and not float(aligned.grad.norm() * aligned.detach().norm()) < LEAST_GRADIENT:
            return
    name = type(loss).__module__.rpartition(".")[2]
    hint = "batch_size=64" if batch_size < FEW_PAIRS else "another loss, or pairs that differ"
    raise ConfigError(
        f"loss={name}: it has no gradient on batches of {len(batch)} of these pairs, so nothing would be learned; take "
        f"{hint}"
    )


def _trial_rows(loss: nn.Module, pairs: Pairs, batch_size: int) -> np.ndarray:
    """Rows for the trial, those with hard negatives first; at least two, even for batches of one."""
    rows = np.arange(len(pairs))
    if pairs.negatives is not None and getattr(loss, "uses_negatives", False):
        rows = np.argsort(~(pairs.negatives >= 0).any(axis=1), kind="stable")
    return rows[: max(2, min(batch_size, TRIAL_ROWS))]


def _teachers(loss: nn.Module, pairs: Pairs, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
    def unit(at: np.ndarray) -> Tensor:
        return l2_normalize(torch.from_numpy(np.array(pairs.teacher[at], dtype=np.float32)))

    if pairs.negatives is None or not getattr(loss, "uses_negatives", False):
        return unit(rows), None
    at = pairs.negatives[rows]
    negatives = unit(np.maximum(at, 0).reshape(-1)).reshape(*at.shape, pairs.teacher_dim)
    return unit(rows), negatives * torch.from_numpy(at >= 0).unsqueeze(-1)
