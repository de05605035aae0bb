"""Wraps head and loss as a Lightning module: training step, validation, optimizer."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from alignkit.metrics.collected import AlignmentMetric
from alignkit.rounding import products_in_bfloat16
from alignkit.training.batches import PairBatch
from alignkit.training.recipe import Recipe
from alignkit.training.row_adam import RowAdam, clip_gradients


class AlignmentModule(LightningModule):
    """Trains a head on pairs.

    Logs `train/loss`, `val/loss`, `val/cosine_mean|p05|p50|p95`, `val/cosine_centered_mean`, `val/spearman`,
    `val/overlap@10`, `val/self_mrr`, `val/self_recall@1`; percentiles and rank correlation once an epoch, over all
    validation pairs of all processes.

    Args:
        head: trained in place; a head, or a student with its head, whose batches are tokens.
        loss: `forward(aligned, teacher, negatives)`.
        teacher_mean: `(teacher_dim,)` of the training split.
        validation_count: pairs in the validation split.
        recipe: of the optimisation.
        others: `(M, teacher_dim)`, the teacher's vectors of training texts, among which validation texts search for
            their own.
        seed: an int; an epoch's randomness (dropout) depends only on it, the epoch and the process.
        rough_products: training steps multiply matrices in bfloat16; for a CPU that does so itself.
    """

    def __init__(
        self,
        head: nn.Module,
        loss: nn.Module,
        teacher_mean: Tensor,
        validation_count: int,
        recipe: Recipe,
        seed: int = 0,
        others: Tensor | None = None,
        rough_products: bool = False,
    ) -> None:
        super().__init__()
        recipe.check()
        self.head = head
        self.loss = loss
        self.metric = AlignmentMetric(
            teacher_mean, validation_count, seed=seed, others=others, of_several=lambda: self.trainer.world_size > 1
        )
        self.recipe = recipe
        self._losses: list[Tensor] = []
        self.seed = seed
        self.rough_products = rough_products

    def training_step(self, batch: PairBatch, batch_index: int) -> Tensor:
        """Loss of one batch."""
        if batch_index == 0:  # reseeded each epoch, so that a resumed run draws what an uninterrupted one does
            # each process drops different units: with the same masks, half the batch would be like a copy
            torch.manual_seed(self.seed * 1_000_003 + self.current_epoch + self.global_rank * 1_000_003**2)
        if self.recipe.noise:
            batch = batch._replace(student=self._noisy(batch.student))
        with products_in_bfloat16(self.rough_products):
            loss = self._loss(batch)[0]
        # `log` takes as long as a small step
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and batch_index % every == 0:
            self.log("train/loss", loss.detach(), batch_size=len(batch.rows))
        return loss if batch.real is None or self._joins else loss * self._share(batch.real)

    def backward(self, loss: Tensor, *given: Any, **named: Any) -> None:
        """Gradients of one batch."""
        with products_in_bfloat16(self.rough_products):
            super().backward(loss, *given, **named)

    def validation_step(self, batch: PairBatch, batch_index: int) -> None:
        """Collect figures of one batch."""
        loss, aligned = self._loss(batch)
        self.metric.update(batch.rows, aligned, batch.teacher)
        count = loss.new_tensor(len(batch.rows)) if batch.real is None else batch.real.sum().to(loss)
        self._losses.append(torch.stack([loss.detach() * count, count]))

    def on_validation_epoch_end(self) -> None:
        """Log figures over all validation pairs; NaN if undefined, so that no earlier value remains."""
        # Lightning's own mean over processes rounds the number of rows to a whole one each
        sums: Tensor = self.all_gather(torch.stack(self._losses).sum(dim=0))  # type: ignore[assignment]
        loss, count = sums.reshape(-1, 2).sum(dim=0).tolist()
        self._losses.clear()
        figures = {f"val/{name}": value for name, value in self.metric.compute().items()}
        figures["val/loss"] = loss / count
        self.log_dict({name: torch.tensor(torch.nan if value is None else value) for name, value in figures.items()})
        self.metric.reset()

    def configure_optimizers(self) -> Any:
        """AdamW over what the head leaves trainable, each layer at its own rate."""
        recipe = self.recipe
        groups = self._groups()
        # under mixed precision Lightning refuses to clip the gradients of a fused optimizer
        fused = "mixed" not in str(self.trainer.precision)
        optimizer = RowAdam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
        if recipe.schedule == "constant":
            return optimizer
        steps = max(2, int(self.trainer.estimated_stepping_batches))
        warmup = recipe.warmup_fraction
        if abs(warmup * steps - 1) < 1e-6:  # a warm-up of exactly one step: torch would divide by its length, zero
            warmup += 1e-3 / steps
        peaks = [group["lr"] for group in groups]
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peaks, total_steps=steps, pct_start=warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning does, which cannot clip sparse gradients."""
        sparse = any(one.grad is not None and one.grad.is_sparse for one in self.head.parameters())
        if not sparse or not gradient_clip_val or gradient_clip_algorithm == "value":
            return super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        return clip_gradients(self.parameters(), gradient_clip_val)

    def _groups(self) -> list[dict[str, Any]]:
        """Trainable parameters by their rate."""
        rates: dict[str, float] = self.head.rates()  # type: ignore[operator]
        found: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.head.named_parameters():
            factor = next((rate for start, rate in rates.items() if name.startswith(start)), 1.0)
            found.setdefault(factor, []).append(parameter)
        found.setdefault(1.0, []).extend(self.loss.parameters())
        for factor, parameters in found.items():
            found[factor] = [parameter for parameter in parameters if parameter.requires_grad]
        return [{"params": some, "lr": factor * self.recipe.lr} for factor, some in found.items() if some]

    def _noisy(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` with noise that is as strong in every dimension, relative to the spread of the batch.

        Source: Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 7, 1995.
        """
        spread = student.var(dim=0, correction=0).mean().sqrt()
        return torch.randn_like(student).mul_(self.recipe.noise * spread).add_(student)

    def _loss(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        # losses use float32 even if the head ran in bfloat16, whose eight bits cannot distinguish a teacher vector
        # from a similar one
        aligned = self.head(batch.student).float()
        teacher = batch.teacher.float()
        negatives = None if batch.negatives is None else batch.negatives.float()
        compared, real = aligned, batch.real
        if self._joins:
            # join the batches of all processes; the gradient of each part returns to its process
            compared = self.all_gather(aligned, sync_grads=True).flatten(0, 1)  # type: ignore[union-attr]
            teacher = self.all_gather(teacher).flatten(0, 1)  # type: ignore[union-attr]
            negatives = None if negatives is None else self.all_gather(negatives).flatten(0, 1)  # type: ignore[union-attr]
            real = None if real is None else self.all_gather(real).flatten()  # type: ignore[union-attr]
        if real is not None and bool(real.any()):  # else nothing but padding, whose share is zero
            kept = real.nonzero().flatten()
            compared, teacher = compared[kept], teacher[kept]
            negatives = None if negatives is None else negatives[kept]
        with torch.autocast(self.device.type, enabled=False):
            return self.loss(compared, teacher, negatives), aligned

    @property
    def _joins(self) -> bool:
        """Whether a loss is that of the batches of all processes together."""
        return self.trainer.world_size > 1 and bool(getattr(self.loss, "compares_batch", False))

    def _share(self, real: Tensor) -> Tensor:
        """Of this process's mean in that over the rows of all processes, where each would have the same by default."""
        counts: Tensor = self.all_gather(real.sum())  # type: ignore[assignment]
        return real.sum() / counts.float().mean()
