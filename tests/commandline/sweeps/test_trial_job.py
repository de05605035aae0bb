"""How a trial ends, and what it hears on the way."""

import optuna
import pytest
from omegaconf import OmegaConf

from alignkit.commandline.starting import Stop
from alignkit.commandline.sweeps.trial_job import TrialJob
from alignkit.errors import AlignkitError
from alignkit.training.listening import NotPromisingError, tell

FIGURE = "val/cosine_p50"


@pytest.fixture
def job(monkeypatch, tmp_path):
    """Runs a task as a trial; gives the outcome and what was reported by epoch."""
    from hydra.core.hydra_config import HydraConfig

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config = OmegaConf.create({"runtime": {"output_dir": str(tmp_path)}})
    monkeypatch.setattr(HydraConfig, "get", lambda: config)

    def run(task):
        study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.5))
        outcome = TrialJob(task, study.ask(), "train", FIGURE)(OmegaConf.create())
        return outcome, study.trials[0].intermediate_values

    return run


def epochs(*values):
    def task(config):
        for epoch, value in enumerate(values):
            if not tell(epoch, {FIGURE: value, "val/loss": 9.0}):
                raise Stop(NotPromisingError(f"not promising after epoch {epoch}"))
        return values[-1]

    return task


def test_every_epoch_is_heard_and_the_objective_decides(job, capsys):
    outcome, reported = job(epochs(0.1, 0.6, 0.7))
    assert (outcome.state, outcome.value) == ("complete", 0.7)
    assert reported == {0: 0.1, 1: 0.6, 2: 0.7}  # the starting point alone ends no run


def test_a_run_that_is_not_promising_is_pruned(job):
    outcome, reported = job(epochs(0.6, 0.6, 0.4, 0.9))
    assert (outcome.state, outcome.value, outcome.words) == ("pruned", None, "not promising after epoch 2")
    assert 3 not in reported


def test_a_fraction_of_an_epoch_and_a_second_first_figure_are_not_compared(job):
    def task(config):
        assert all(tell(passes, {FIGURE: value}) for passes, value in ((0, 0.9), (0, 0.8), (0.5, 0.1), (1, 0.9)))
        return 0.9

    assert job(task)[1] == {0: 0.9, 1: 0.9}


def stopped_while_interrupted(config):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise Stop(_interrupted()) from None


def _interrupted():
    try:
        raise AlignkitError("interrupted; go on with: …") from None
    except AlignkitError as error:
        return error


def raising(error):
    def task(config):
        raise error

    return task


@pytest.mark.parametrize(
    ("task", "state", "words"),
    [
        (raising(Stop(AlignkitError("no such file"))), "failed", "no such file"),
        (raising(KeyboardInterrupt()), "interrupted", ""),
        (stopped_while_interrupted, "interrupted", ""),
        (lambda config: None, "failed", "val/cosine_p50 is undefined"),
        (lambda config: float("nan"), "failed", "val/cosine_p50 is undefined"),
    ],
)
def test_every_end_is_told(job, task, state, words):
    outcome, _ = job(task)
    assert (outcome.state, outcome.words) == (state, words)


def test_a_bug_is_told_with_where_it_is_and_stops_nothing(job, caplog):
    outcome, _ = job(raising(RuntimeError("shapes\ndiffer")))
    assert (outcome.state, outcome.words) == ("failed", "RuntimeError: shapes differ")
    assert "Traceback" in caplog.text


def test_what_a_trial_prints_is_in_its_folder_and_not_on_the_screen(job, capsys):
    job(lambda config: print("a table") or 0.5)
    assert capsys.readouterr().out == ""
