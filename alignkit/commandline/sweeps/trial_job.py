"""One trial as a job of Hydra's: the command's task, listened to, with an end that is told and never raised."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig

from alignkit.commandline.mistakes import explain_error
from alignkit.commandline.starting import Stop
from alignkit.training.listening import NotPromisingError, listened_to_by

if TYPE_CHECKING:
    from optuna.trial import Trial

logger = logging.getLogger(__name__)

COMPLETE, PRUNED, FAILED, INTERRUPTED = "complete", "pruned", "failed", "interrupted"
# passes are sums of quotients
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: `complete`, `pruned`, `failed` or `interrupted`.
        folder: of its run.
        value: of the objective, where it is complete.
        words: why it ended, where it is not.
        seconds: wall clock.
    """

    state: str
    folder: str
    value: float | None = None
    words: str = ""
    seconds: float = 0.0


@dataclass
class TrialJob:
    """What Hydra runs for a trial.

    Attributes:
        task: the command's.
        trial: hears the validation figures.
        command: its name.
        objective: the figure that it hears.
    """

    task: TaskFunction
    trial: Trial
    command: str
    objective: str
    _told: set[int] = field(default_factory=set)

    def __call__(self, config: DictConfig) -> Outcome:
        """Run it; its own report is in its folder, and is not printed."""
        started, folder = time.perf_counter(), str(HydraConfig.get().runtime.output_dir)
        with contextlib.redirect_stdout(io.StringIO()), listened_to_by(self._hear):
            outcome = self._ended(config, folder)
        return Outcome(outcome.state, folder, outcome.value, outcome.words, time.perf_counter() - started)

    def _ended(self, config: DictConfig, folder: str) -> Outcome:
        try:
            value = self.task(config)
        except Stop as stop:
            error = stop.error
            # a command says how to go on with its run, and does so while it handles the interruption
            if isinstance(error.__context__, KeyboardInterrupt):
                return Outcome(INTERRUPTED, folder)
            words = explain_error(error, self.command)
            return Outcome(PRUNED if isinstance(error, NotPromisingError) else FAILED, folder, words=words)
        except KeyboardInterrupt:
            return Outcome(INTERRUPTED, folder)
        except Exception as error:
            logger.exception("trial %s", self.trial.number)
            return Outcome(FAILED, folder, words=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        if not isinstance(value, int | float) or not math.isfinite(value):
            return Outcome(FAILED, folder, words=f"{self.objective} is undefined")
        return Outcome(COMPLETE, folder, float(value))

    def _hear(self, passes: float, figures: Mapping[str, float]) -> bool:
        """Report whole epochs, which trials of any batch size have; whether the run goes on."""
        epoch, value = round(passes), figures.get(self.objective)
        if value is None or abs(passes - epoch) > _ROUNDING or epoch in self._told:
            return True
        self._told.add(epoch)
        self.trial.report(value, epoch)
        return not epoch or not self.trial.should_prune()
