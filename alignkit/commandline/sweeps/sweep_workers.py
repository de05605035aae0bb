"""Processes that share the trials of a sweep: who is alive, and what a dead one left unfinished."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from alignkit.commandline.given_words import GivenWords

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

# which of the processes this is; absent in the one that a user started
WORKER = "ALIGNKIT_SWEEP_WORKER"
LOCKS = "workers"
# of a trial, in the study: whose it is, and that it shall be run again
HELD_BY, AGAIN = "held_by", "again"
_GRACE_S = 30.0
_OWN = ("hydra.sweep.dir=", "hydra.sweeper.n_jobs=")


class Alive:
    """A lock that this process holds while it lives; the system frees it however the process ends.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        self.path = folder / LOCKS / f"{uuid.uuid4().hex}.lock"
        self._asking = FileLock(folder / LOCKS / "asking.lock")
        self._lock = FileLock(self.path)
        self._lock.acquire()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Within it no other process of this folder counts the trials."""
        with self._asking:
            yield

    def close(self) -> None:
        """This process asks for no more trials."""
        self._lock.release()
        self.path.unlink(missing_ok=True)


def take_over(study: Study) -> int:
    """Queue again what processes that are gone had begun; returns how many trials that are."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    return sum(run_again(study, trial) for trial in running if _is_abandoned(trial))


def run_again(study: Study, trial: FrozenTrial) -> bool:
    """Give a trial up, and queue its settings again; whether nobody else did."""
    import optuna

    study._storage.set_trial_user_attr(trial._trial_id, AGAIN, True)
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except ValueError:  # it has ended meanwhile
        return False
    study.enqueue_trial(trial.params)
    return True


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Whether the process that runs it is gone; of one elsewhere, whose lock is not there, nothing is known."""
    path = Path(str(trial.user_attrs.get(HELD_BY, "")))
    if not path.parent.is_dir() or path.suffix != ".lock":
        return False
    if not path.exists():  # it was removed by who held it
        return True
    lock = FileLock(path, timeout=0)
    try:
        with lock:
            pass
    except Timeout:
        return False
    path.unlink(missing_ok=True)
    return True


class Workers:
    """Further processes with this command line.

    Args:
        given: the command line.
        folder: of the sweep.
        count: of further processes.
    """

    def __init__(self, given: GivenWords, folder: Path, count: int) -> None:
        words = [word for word in given.words if not word.startswith(_OWN)]
        words += [f"hydra.sweep.dir={folder}", "hydra.sweeper.n_jobs=1"]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"alignkit.{given.command}", *words],
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                env={**os.environ, WORKER: str(number)},
            )
            for number in range(1, count + 1)
        ]

    def wait(self) -> None:
        """Until all of them have ended."""
        failed = [process for process in self._processes if process.wait()]
        if failed:
            logger.warning(
                "%s of %s worker(s) ended with an error, exit code %s; their trials are run again",
                len(failed), len(self._processes), failed[0].returncode,
            )  # fmt: skip
        self._processes = []

    def stop(self) -> None:
        """End them: Ctrl-C in a terminal has reached them already, `kill` has not."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._processes = []


def number_of_worker() -> int:
    """Of this process; 0 for the one that a user started."""
    return int(os.environ.get(WORKER) or 0)


def words_to_go_on(given: GivenWords, folder: Path) -> Sequence[str]:
    """Of the command that goes on with the sweep in this folder."""
    return [*(word for word in given.words if not word.startswith(_OWN[0])), f"hydra.sweep.dir={folder}"]
