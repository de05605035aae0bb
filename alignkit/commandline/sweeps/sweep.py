"""A sweep: ask for settings, run them, tell how they did, until there are enough trials; then the leaderboard."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alignkit.commandline.given_words import GivenWords, given_words
from alignkit.commandline.mistakes import explain_error
from alignkit.commandline.sweeps.search_space import SearchSpace, parse_space
from alignkit.commandline.sweeps.studies import (
    Direction,
    check_settings,
    claim_study,
    open_study,
    optunas_words_kept_down,
)
from alignkit.commandline.sweeps.sweep_workers import (
    AGAIN,
    HELD_BY,
    Alive,
    Workers,
    number_of_worker,
    run_again,
    take_over,
    words_to_go_on,
)
from alignkit.commandline.sweeps.trial_job import COMPLETE, FAILED, INTERRUPTED, PRUNED, Outcome, TrialJob
from alignkit.commandline.sweeps.trials_told import shown, tell_all
from alignkit.commandline.words import as_given
from alignkit.errors import AlignkitError, ConfigError
from alignkit.pasting import command_line

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)

# a sweep whose first trials all fail has a mistake in it
HOPELESS = 3
FOLDER, WORDS, SECONDS = "folder", "words", "seconds"


class Sweep:
    """One sweep, or a worker's share of one.

    Args:
        settings: of the sweeper.
        config: of Hydra, with the command's own settings.
        context: of Hydra.
        task: of the command.
        arguments: overrides.

    Raises:
        ConfigError: for settings that no sweep could use.
    """

    def __init__(
        self, settings: Mapping[str, Any], config: DictConfig, context: HydraContext, task: TaskFunction,
        arguments: Sequence[str],
    ) -> None:  # fmt: skip
        check_settings(settings)
        given = given_words()
        if given is None or OmegaConf.select(config, "objective") is None:
            raise ConfigError("hydra/sweeper=alignkit_optuna: this command has no objective; sweep train or distill")
        self.settings, self.config, self.context, self.task = settings, config, context, task
        self.given: GivenWords = given
        self.folder = Path(str(config.hydra.sweep.dir)).absolute()
        self.worker = number_of_worker()
        self.space: SearchSpace = parse_space(
            settings["params"] or {}, arguments, given.command, _choices(config), context.config_loader
        )
        self.objective = self._objective()
        least = self.objective.endswith("loss")
        self.direction: Direction = settings["direction"] or ("minimize" if least else "maximize")

    def run(self) -> None:
        """Run what is missing.

        Raises:
            AlignkitError: if it was interrupted, with the command that goes on; if all trials failed.
        """
        with optunas_words_kept_down():
            study = open_study(self.settings, self.folder, self.given.command, self.direction, self.worker)
            claim_study(study, self._about())
            alive = Alive(self.folder)
            try:
                self._run(study, alive)
            except KeyboardInterrupt:
                if self.worker:
                    raise
                again = command_line(self.given.command, words_to_go_on(self.given, self.folder))
                raise AlignkitError(f"interrupted; go on with: {again}") from None
            finally:
                alive.close()
            if not self.worker:
                tell_all(study, self.folder, self.objective, self.settings["time_embedding"])

    def _run(self, study: Study, alive: Alive) -> None:
        if self.worker:
            self._share(study, alive)
            return
        if taken := take_over(study):
            logger.info("%s trial(s) that were interrupted are run again", taken)
        if self.settings["sampler"] == "grid":
            for values in self.space.grid():
                study.enqueue_trial(values, skip_if_exists=True)
        self._say_where(study)
        while True:
            missing = self.settings["n_trials"] - _counted(study)
            workers = Workers(self.given, self.folder, min(self.settings["n_jobs"], missing) - 1)
            try:
                self._share(study, alive)
                workers.wait()
            finally:
                workers.stop()
            if not take_over(study):
                return

    def _share(self, study: Study, alive: Alive) -> None:
        """Run trials while some are missing."""
        while (trial := self._ask(study, alive)) is not None:
            self._tell(study, trial, _known(study, trial[0]) or self._launched(trial))
            _stop_if_hopeless(study)

    def _ask(self, study: Study, alive: Alive) -> tuple[Trial, list[str]] | None:
        """A trial and its overrides, where one is missing."""
        import optuna

        with alive.asking():
            waiting = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
            if _counted(study) >= self.settings["n_trials"] or (self.settings["sampler"] == "grid" and not waiting):
                return None
            trial = study.ask()
            trial.set_user_attr(HELD_BY, str(alive.path))
        try:
            return trial, self.space.overrides(trial)
        except ConfigError:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise

    def _launched(self, asked: tuple[Trial, list[str]]) -> Outcome:
        trial, overrides = asked
        job = TrialJob(self.task, trial, self.given.command, self.objective)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=job, config=self.config
        )
        folder = str(self.folder / str(trial.number))
        try:
            (done,) = launcher.launch([overrides], initial_job_idx=trial.number)
            outcome: Outcome = done.return_value
            return outcome
        except KeyboardInterrupt:
            return Outcome(INTERRUPTED, folder)
        except (HydraException, OmegaConfBaseException) as error:
            return Outcome(FAILED, folder, words=explain_error(error, self.given.command))

    def _tell(self, study: Study, asked: tuple[Trial, list[str]], outcome: Outcome) -> None:
        import optuna

        trial, _ = asked
        if outcome.state == INTERRUPTED:
            run_again(study, study._storage.get_trial(trial._trial_id))
            raise KeyboardInterrupt
        for name, value in ((FOLDER, outcome.folder), (WORDS, outcome.words), (SECONDS, round(outcome.seconds, 1))):
            trial.set_user_attr(name, value)
        states = {COMPLETE: "COMPLETE", PRUNED: "PRUNED", FAILED: "FAIL"}
        study.tell(trial, outcome.value, optuna.trial.TrialState[states[outcome.state]], skip_if_finished=True)
        drawn = " ".join(f"{name}={shown(value)}" for name, value in trial.params.items())
        how = (
            f"{self.objective} {outcome.value:.4f}"
            if outcome.value is not None
            else f"{outcome.state}: {outcome.words}"
        )
        again = outcome.words if outcome.value is not None else ""  # a failure has told its words already
        took = f"{outcome.seconds:.0f} s" if outcome.seconds else again
        logger.info("trial %s: %s (%s)", trial.number, how, "; ".join(filter(None, (drawn, took))))

    def _objective(self) -> str:
        """The figure that decides: of the words, else of the YAML."""
        given = [word.partition("=")[2].strip("'") for word in self.space.fixed if word.startswith("objective=")]
        return given[-1] if given else str(self.config.objective)

    def _about(self) -> dict[str, Any]:
        return {
            "command": self.given.command,
            "objective": self.objective,
            "settings": sorted(as_given(self.space.fixed)),
            "search space": sorted(f"{one.name}={one.written}" for one in self.space.searched),
        }

    def _say_where(self, study: Study) -> None:
        done = _counted(study)
        begun = f", {done} of them there already" if done else ""
        searched = ", ".join(one.name for one in self.space.searched)
        logger.info(
            "sweep of %s trials%s, %s %s over %s: %s",
            self.settings["n_trials"], begun, self.direction, self.objective, searched, self.folder,
        )  # fmt: skip


def _choices(config: DictConfig) -> dict[str, str]:
    chosen = OmegaConf.to_container(config.hydra.runtime.choices)
    return {str(group): str(choice) for group, choice in chosen.items()} if isinstance(chosen, dict) else {}


def _known(study: Study, trial: Trial) -> Outcome | None:
    """How a trial with the same settings ended: it would end so again, for a seed is one of the settings."""
    states = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED}
    for one in study.get_trials(deepcopy=False):
        same = one.number < trial.number and one.params == trial.params and one.state.name in states
        if same and FOLDER in one.user_attrs:
            value = one.value if one.state.name == "COMPLETE" else None
            return Outcome(states[one.state.name], one.user_attrs[FOLDER], value, f"as trial {one.number}")
    return None


def _counted(study: Study) -> int:
    """Trials that were begun; those that are run again count once."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    waiting = optuna.trial.TrialState.WAITING
    return sum(trial.state != waiting and not trial.user_attrs.get(AGAIN) for trial in trials)


def _stop_if_hopeless(study: Study) -> None:
    """End a sweep whose first trials all failed.

    Raises:
        AlignkitError: in that case, with the words of the first.
    """
    import optuna

    trials = [one for one in study.get_trials(deepcopy=False) if not one.user_attrs.get(AGAIN)]
    ended = [one for one in trials if one.state.is_finished()]
    if len(ended) >= HOPELESS and all(one.state is optuna.trial.TrialState.FAIL for one in ended):
        raise AlignkitError(f"the first {len(ended)} trials failed; the first: {ended[0].user_attrs.get(WORDS)}")
