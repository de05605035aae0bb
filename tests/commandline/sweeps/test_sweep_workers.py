"""What processes of a sweep know of each other."""

import optuna
import pytest

from alignkit.commandline.sweeps.sweep_workers import HELD_BY, Alive, take_over


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study()


def begun(study, held_by):
    trial = study.ask()
    trial.suggest_float("lr", 0, 1)
    trial.set_user_attr(HELD_BY, str(held_by))
    return trial.params


def test_what_a_dead_process_had_begun_is_run_again_with_the_same_settings(study, tmp_path):
    alive, dead = Alive(tmp_path), Alive(tmp_path)
    begun(study, alive.path)
    params = begun(study, dead.path)
    assert take_over(study) == 0
    dead._lock.release()  # as the system does when a process is killed
    assert take_over(study) == 1
    assert take_over(study) == 0
    again = study.ask()
    assert again.suggest_float("lr", 0, 1) == params["lr"]
    alive.close()


def test_of_a_process_on_another_machine_nothing_is_known(study, tmp_path):
    begun(study, tmp_path / "elsewhere" / "1.lock")
    assert take_over(study) == 0
