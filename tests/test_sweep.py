"""A sweep by Optuna, as a user starts it: what it runs, what it leaves, and how it goes on."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from waiting import until

from alignkit.commandline.sweeps.sweep_workers import HELD_BY
from alignkit.parts import conf_folder

SWEEP = ("-m", "hydra/sweeper=alignkit_optuna", "data=vectors", "html=false", "confidence=false", "whiten_by=null",
         "trainer.max_epochs=0")  # fmt: skip
GRID = ("hydra.sweeper.sampler=grid", "model=linear,mlp", "model.depth=1,-1", "model.hidden=choice(8)")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    student = generator.standard_normal((80, 6))
    teacher = np.tanh(student @ generator.standard_normal((6, 8)))
    for name, array in (("student", student), ("teacher", teacher)):
        np.save(folder / f"{name}.npy", array.astype(np.float32))
    return [f"data.{name}={folder / name}.npy" for name in ("student", "teacher")]


@pytest.fixture(scope="module")
def swept(pairs, tmp_path_factory):
    """The folder of a sweep over three combinations, one of which fails; not to be written to."""
    from alignkit import train

    folder = tmp_path_factory.mktemp("swept") / "sweep"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder.parent)
        patched.setattr(sys, "argv", ["alignkit train", *SWEEP, *pairs, *GRID, f"hydra.sweep.dir={folder}"])
        with pytest.raises(SystemExit) as left:
            train.main()
    assert not left.value.code
    return folder


@pytest.fixture
def sweep(run_command, pairs):
    """Run a sweep of the real command; a journal is made in less time than a database."""
    return lambda *words: run_command("train", *SWEEP, *pairs, "hydra.sweeper.storage=own.journal", *words)


@pytest.fixture
def quick(monkeypatch, swept):
    """A training that takes no time: the better the nearer `lr` is to 0.1; notes the rates in a list."""
    from hydra.core.hydra_config import HydraConfig

    from alignkit.commands import train
    from alignkit.errors import DataError

    rates = []

    def main(config):
        rates.append(config.lr)
        if config.lr > 1:
            raise DataError(f"lr={config.lr} is a joke")
        if config.lr < 0.002:
            raise KeyboardInterrupt
        shutil.copytree(swept / "0", HydraConfig.get().runtime.output_dir, dirs_exist_ok=True)
        return -abs(float(np.log10(config.lr)) + 1)

    monkeypatch.setattr(train, "main", main)
    return rates


def told(folder):
    return json.loads((Path(folder) / "leaderboard.json").read_text(encoding="utf-8"))


def test_a_setting_is_searched_where_its_head_has_it_and_a_failure_stops_nothing(swept):
    trials = told(swept)["sweep"]["trials"]
    assert [(one["settings"], one["state"]) for one in trials] == [
        ({"model": "linear"}, "complete"),  # which has no depth
        ({"model": "mlp", "model.depth": "1", "model.hidden": "8"}, "complete"),
        ({"model": "mlp", "model.depth": "-1", "model.hidden": "8"}, "fail"),
    ]
    assert "model.depth=-1: expected a whole number of at least 1" in trials[2]["words"]
    assert trials[0]["by_epoch"] == {"0": trials[0]["value"]}  # a closed form has one figure


def test_the_leaderboard_has_every_run_with_its_figures_its_cost_and_the_front(swept):
    (group,) = told(swept)["groups"]
    assert group["ordered_by"] == "val/cosine_p50" and len(group["runs"]) == 2
    values = [run["ordered_by"] for run in group["runs"]]
    assert values == sorted(values, reverse=True)
    for run in group["runs"]:
        figure, own = run["intervals"][group["measure"]], run["figures"][group["measure"]]
        assert figure["low"] <= own <= figure["high"]
        assert run["cost"]["head_us"] > 0 and run["cost"]["head_bytes"] > 0
        assert (
            run["settings"]["model"] == json.loads((swept / run["run"] / "metrics.json").read_text())["meta"]["model"]
        )
    assert group["runs"][0]["on_front"]
    page = (swept / "leaderboard.md").read_text(encoding="utf-8")
    assert "3 trials: 2 finished, 1 failed" in page and "trial 2 failed: model.depth=-1" in page
    assert "| model | model.depth |" in page


def test_tensorboard_has_its_runs_among_the_hyperparameters(swept):
    from tensorboard import context
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import api_pb2, list_session_groups
    from tensorboard.plugins.hparams.backend_context import Context

    events = EventMultiplexer().AddRunsFromDirectory(str(swept / "tensorboard")).Reload()
    provider = MultiplexerDataProvider(events, str(swept))
    request = api_pb2.ListSessionGroupsRequest(slice_size=9, allowed_statuses=[0, 1, 2, 3])
    tab = Context(type("Run", (), {"data_provider": provider, "logdir": str(swept), "flags": None})())
    found = list_session_groups.Handler(context.RequestContext(), tab, "sweep", request).run().session_groups
    assert {group.hparams["model"].string_value for group in found} == {"linear", "mlp"}
    names = {metric.name.tag for metric in found[0].metric_values}
    assert {"val/cosine_p50", "share_of_teacher", "head_us", "head_bytes", "on_front"} <= names


def test_it_prints_the_leaderboard_alone_in_80_columns(sweep, swept, tmp_path):
    shutil.copytree(swept, tmp_path / "sweep")
    before = (tmp_path / "sweep" / "0" / "metrics.json").stat().st_mtime_ns
    code, out, err = sweep(*GRID, "hydra.sweep.dir=sweep", "hydra.sweeper.storage=null")  # nothing is missing
    assert code == 0 and "trial " not in err
    assert (tmp_path / "sweep" / "0" / "metrics.json").stat().st_mtime_ns == before
    lines = [line for line in out.splitlines() if not line.startswith(("leaderboard: ", "TensorBoard: "))]
    assert max(map(len, lines)) <= 80
    assert sum("model=" in line for line in lines) == 2 and "3 trials: 2 finished, 1 failed" in lines


def test_it_goes_on_where_it_was_interrupted_and_repeats_what_it_had_begun(sweep, quick, tmp_path):
    words = ("lr=0.001,0.5", "hydra.sweeper.sampler=grid", "hydra.sweep.dir=stopped")
    code, _, err = sweep(*words)
    assert code == 1
    again = f"lr=0.001,0.5 hydra.sweeper.sampler=grid hydra.sweep.dir={tmp_path / 'stopped'}"
    assert err.splitlines()[-1].startswith(
        "alignkit: interrupted; go on with: python -m alignkit.train -m hydra/sweeper="
    )
    assert err.rstrip().endswith(again)
    assert sweep(*words)[0] == 1 and quick == [0.001, 0.5, 0.001]  # the other one was still to come


def test_more_trials_draw_others(sweep, quick):
    words = ("lr=tag(log,interval(0.01,1))", "hydra.sweep.dir=sweep")
    assert sweep(*words, "hydra.sweeper.n_trials=2")[0] == 0
    code, _, err = sweep(*words, "hydra.sweeper.n_trials=4")
    assert code == 0 and "sweep of 4 trials, 2 of them there already" in err
    assert len(quick) == len(set(quick)) == len(told("sweep")["sweep"]["trials"]) == 4


def test_the_same_seed_draws_the_same(sweep, quick):
    words = ("lr=tag(log,interval(0.01,1))", "hydra.sweeper.n_trials=2")
    for number, seed in enumerate((0, 0, 1)):  # several sweeps in one storage
        more = (f"hydra.sweeper.study_name={number}", f"hydra.sweeper.seed={seed}", f"hydra.sweep.dir={number}")
        assert sweep(*words, *more)[0] == 0
    assert quick[:2] == quick[2:4] != quick[4:] and len(set(quick)) == 4
    assert Path("own.journal").is_file() and not Path("0/study.db").exists()


def test_settings_that_were_drawn_before_are_not_run_again(sweep, quick):
    code, _, err = sweep("lr=0.1,0.2", "hydra.sweeper.n_trials=9", "hydra.sweep.dir=sweep")
    assert code == 0 and sorted(quick) == [0.1, 0.2] and "; as trial 0)" in err
    assert "7 trial(s) drew the settings of another, and were not run again" in told("sweep")["remarks"]


def test_a_sweep_with_a_mistake_in_it_ends_soon(sweep, quick):
    code, out, err = sweep("lr=interval(2.0,9.0)", "hydra.sweep.dir=sweep")
    assert code == 1 and len(quick) == 3 and not out
    assert err.splitlines()[-1].startswith("alignkit: the first 3 trials failed; the first: lr=")


def test_a_storage_of_another_sweep_is_not_gone_on_with(sweep, quick):
    assert sweep("lr=0.1,0.2", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep")[0] == 0
    code, _, err = sweep("lr=0.1,0.3", "seed=1", "hydra.sweeper.n_trials=4", "hydra.sweep.dir=sweep")
    assert code == 1 and len(quick) == 2
    assert "begun otherwise (now seed=1; lr=0.1,0.2, now not; now lr=0.1,0.3)" in err


def test_the_space_may_stand_in_a_yaml(run_command, pairs, quick, tmp_path):
    (tmp_path / "mine").mkdir()
    text = """
defaults: [/train, {override /hydra/sweeper: alignkit_optuna}, _self_]
hydra:
  mode: MULTIRUN
  sweeper: {n_trials: 2, storage: own.journal, params: {lr: 'tag(log, interval(0.01, 1))', seed: 'range(0, 3)'}}
"""
    (tmp_path / "mine" / "search.yaml").write_text(text, encoding="utf-8")
    own = ("--config-dir", "mine", "--config-name", "search")
    code, _, err = run_command("train", *own, *SWEEP[2:], *pairs, "seed=1")  # the command line comes last
    assert code == 0 and len(quick) == 2, err
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    assert {tuple(one["settings"]) for one in told(folder)["sweep"]["trials"]} == {("lr",)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("model=linear", "no setting is searched; give some as choice(), range(), interval() or values with commas"),
        ("lr=0.1,0.2 hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials=0: expected a whole number of at least 1"),
        ("lr=0.1,0.2 hydra.sweeper.params={model:{hidden:8}}", "expected settings by their whole names, such as {"),
        ("lr=0.1,0.2 hydra.sweeper.pruner=x", "hydra.sweeper.pruner=x: expected median or halving, or null, never"),
        ("lr=0.1,0.2 hydra.sweeper.storage=nonesuch://x", "hydra.sweeper.storage=nonesuch://x: cannot be used"),
    ],
)  # fmt: skip
def test_what_no_sweep_could_use_is_one_line(sweep, quick, words, says):
    code, out, err = sweep(*words.split())
    assert code == 1 and says in err and len(err.splitlines()[-1:]) == 1 and not out and quick == []


def test_the_plugin_is_where_hydra_looks_in_a_wheel_and_in_the_image_too():
    root = conf_folder().parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]
    for places in (targets["wheel"]["packages"], targets["sdist"]["include"]):
        assert "hydra_plugins" in places
    assert "COPY hydra_plugins hydra_plugins" in (root / "Dockerfile").read_text(encoding="utf-8")
    assert "!hydra_plugins" in (root / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_a_sweeper_is_for_a_sweep_and_for_who_has_an_objective(run_command):
    assert "start it with -m" in run_command("train", "hydra/sweeper=alignkit_optuna", "lr=0.1")[2]
    assert "sweep train or distill" in run_command("build", "-m", "hydra/sweeper=alignkit_optuna", "seed=0,1")[2]
    assert "take hydra/sweeper=alignkit_optuna" in run_command("train", "-m", "hydra/sweeper=optuna", "lr=1,2")[2]


def test_without_optuna_it_says_what_to_install(sweep, monkeypatch):
    from importlib import util

    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *more: None if name == "optuna" else found(name, *more))
    assert 'optuna is not installed; install it with: pip install "alignkit[optuna]"' in sweep("lr=0.1,0.2")[2]


def test_processes_share_the_trials(sweep, quick, monkeypatch, tmp_path):
    from optuna import load_study

    from alignkit.commands import train

    url, here = f"sqlite:///{(tmp_path / 'sweep' / 'study.db').as_posix()}", train.main

    def main(config):  # the other process trains; this one waits until it has
        until(lambda: list((tmp_path / "sweep").glob("*/metrics.json")))
        return here(config)

    monkeypatch.setattr(train, "main", main)
    code, out, err = sweep("lr=tag(log,interval(0.01,1))", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2",
                           "hydra.sweep.dir=sweep", "hydra.sweeper.storage=null")  # fmt: skip
    assert code == 0, err
    trials = load_study(study_name="train", storage=url).trials
    assert {one.state.name for one in trials} == {"COMPLETE"} and len({one.user_attrs[HELD_BY] for one in trials}) == 2
    assert len(quick) < len(told("sweep")["sweep"]["trials"]) == 3
    assert out.count("leaderboard: ") == 1
    assert [path.name for path in (tmp_path / "sweep" / "workers").iterdir()] == ["asking.lock"]
