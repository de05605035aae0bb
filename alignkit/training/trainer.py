"""Lightning's `Trainer` configured for a fit, with better handling of interrupts and errors."""

from __future__ import annotations

import logging
import signal
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from alignkit.errors import AlignkitError, ConfigError
from alignkit.event_files import why_no_events
from alignkit.training.device import Device
from alignkit.training.epoch_progress import EpochProgress
from alignkit.training.recipe import Recipe
from alignkit.training.team import is_lost, lost

CHECKPOINTS = "checkpoints"
_LONGEST_REASON = 200
_OF_CHECKPOINT = {"state_dict", "epoch", "global_step", "loops", "pytorch-lightning_version"}


def build_trainer(
    recipe: Recipe,
    device: Device,
    own: Sequence[Callback],
    run_folder: Path | None,
    settings: Mapping[str, Any],
    texts: int | None = None,
) -> Trainer:
    """A trainer for one fit.

    Args:
        recipe: of the optimisation.
        device: where.
        own: callbacks of the fit.
        run_folder: for checkpoints and TensorBoard events; `None` writes nothing.
        settings: further arguments of `Trainer`.
        texts: of an epoch, where progress counts them rather than epochs.

    Raises:
        ConfigError: for arguments that Lightning refuses.
    """
    callbacks: list[Callback] = [*own, EpochProgress(recipe.select_by, texts)]
    logger: TensorBoardLogger | bool = False
    if run_folder is not None:
        # two, so that a crash while writing one leaves the other
        callbacks.append(
            ModelCheckpoint(run_folder / CHECKPOINTS, "{epoch:04d}", monitor="epoch", mode="max", save_top_k=2,
                            save_on_train_epoch_end=True, auto_insert_metric_name=False)
        )  # fmt: skip
        if why_no_events(run_folder) is None:
            logger = TensorBoardLogger(run_folder, name="", version="", default_hp_metric=False)
    settings = {
        "devices": 1,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        **settings,
    }
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # alignkit reports the same itself
    try:
        return Trainer(
            accelerator=device.accelerator,
            precision=device.precision,  # type: ignore[arg-type]
            max_epochs=recipe.max_epochs,
            gradient_clip_val=recipe.gradient_clip_val,
            logger=logger,
            callbacks=callbacks,
            use_distributed_sampler=False,
            enable_checkpointing=run_folder is not None,
            **settings,
        )
    except (MisconfigurationException, TypeError, ValueError, AttributeError, ImportError, RuntimeError) as error:
        raise ConfigError(_lightning_words(error)) from None


def _lightning_words(error: BaseException) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    return f"trainer: {message.rstrip('.')}; python -m alignkit.train --help lists common settings"


def newest_checkpoint(run_folder: Path | None) -> str | None:
    """Path of Lightning's newest readable checkpoint, if there is one."""
    paths = sorted((run_folder / CHECKPOINTS).glob("*.ckpt")) if run_folder else []
    for path in reversed(paths):
        try:  # the newest may be truncated
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # noqa: BLE001 - whatever torch raises for a torn file
            continue
        if isinstance(found, dict) and found.keys() >= _OF_CHECKPOINT:
            return str(path)
    return None


def remove_checkpoints(run_folder: Path | None) -> None:
    """Remove those of a try that is not gone on with."""
    for stale in (run_folder / CHECKPOINTS).glob("*.ckpt") if run_folder else ():
        stale.unlink()


class StopAfter(Callback):
    """Ends a longer schedule after a given, possibly fractional, number of epochs: the best one on validation."""

    def __init__(self, epochs: float) -> None:
        self.epochs = epochs
        self._batches = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *given: Any, **named: Any) -> None:
        """Stop if it is time."""
        self._batches += 1
        if self._batches >= self.epochs * trainer.num_training_batches:
            trainer.should_stop = True


class lightning_manners:  # noqa: N801 - reads as a function
    """Translate how Lightning exits: Ctrl-C raises KeyboardInterrupt, a full disk or a bad setting a one-line error."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        """Silence irrelevant warnings."""
        self._on_interrupt = signal.getsignal(signal.SIGINT)
        self._warnings.__enter__()
        # batches come from an iterable of ours, which has no workers to speak of
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # a student: no dropout
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning's own use of torch
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        """Raise the exception that callers expect."""
        self._warnings.__exit__(kind, error, trace)
        if isinstance(error, SystemExit) and self.trainer.state.status == TrainerStatus.INTERRUPTED:
            signal.signal(signal.SIGINT, self._on_interrupt)  # Lightning left it ignored
            raise KeyboardInterrupt from None
        if error is not None and is_lost(error):
            raise lost(error) from None
        if error is not None and _was_restoring(error):
            why = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
            raise AlignkitError(
                f"the newest file in {CHECKPOINTS}/ does not fit this run's settings ({why}); remove it, and the run "
                "starts from the one before or anew"
            ) from None
        if error is not None and _is_lightnings(error):
            raise ConfigError(_lightning_words(error)) from None
        if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):
            raise AlignkitError(
                f"the run could not be saved ({str(error).splitlines()[0]}); free some space, then resume it"
            ) from None


def _was_restoring(error: BaseException) -> bool:
    """Whether the error arose while restoring a checkpoint, which may be damaged or from another run."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, Exception) and any(
        frame.f_globals.get("__name__", "").endswith(".checkpoint_connector") and "restore" in frame.f_code.co_name
        for frame in frames
    )


def _is_lightnings(error: BaseException) -> bool:
    """Whether Lightning itself refused something, rather than a head, a loss or torch."""
    if isinstance(error, MisconfigurationException) or not isinstance(error, TypeError | ValueError):
        return isinstance(error, MisconfigurationException)
    frames = list(traceback.walk_tb(error.__traceback__))
    return str(frames[-1][0].f_globals.get("__name__", "")).startswith("lightning.")
