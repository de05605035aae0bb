"""What a sweep searches, as Hydra's users write it."""

import pytest

from alignkit.commandline.sweeps.search_space import parse_space
from alignkit.errors import ConfigError


def space_of(*words, params=None, **choices):
    return parse_space(params or {}, words, "train", {"model": "linear", **choices}, None)


class Lowest:
    """A trial that draws the first of each, and notes what it was asked."""

    def __init__(self):
        self.asked = {}

    def suggest_categorical(self, name, choices):
        self.asked[name] = choices
        return choices[0]

    def suggest_int(self, name, low, high, *, step=1, log=False):
        self.asked[name] = ("int", low, high, step, log)
        return low

    def suggest_float(self, name, low, high, *, step=None, log=False):
        self.asked[name] = ("float", low, high, step, log)
        return low


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("1,2,4", ("1", "2", "4")),
        ("null,0.5,'a b'", ("null", "0.5", "'a b'")),
        ("range(1,9)", ("int", 1, 8, 1, False)),  # as Python's: without its end
        ("range(8,0,-2)", ("int", 2, 8, 2, False)),
        ("range(0,1,0.25)", ("float", 0.0, 0.75, 0.25, False)),
        ("interval(1,9)", ("float", 1.0, 9.0, None, False)),
        ("int(interval(1,9))", ("int", 1, 9, 1, False)),
        ("tag(log,interval(1e-4,1e-2))", ("float", 1e-4, 1e-2, None, True)),
        ("tag(log,int(interval(1,1000)))", ("int", 1, 1000, 1, True)),
        ("tag(log,range(1,1000))", ("int", 1, 999, 1, True)),
    ],
)
def test_a_space_is_what_hydra_writes(written, asked):
    trial = Lowest()
    overrides = space_of(f"lr={written}").overrides(trial)
    assert trial.asked == {"lr": asked}
    first = asked[0] if asked[0] not in ("int", "float") else asked[1]
    assert overrides == [f"lr={first}"]


def test_choices_come_before_the_settings_that_only_some_of_them_have():
    trial = Lowest()
    overrides = space_of("model.hidden=8,16", "lr=1,2", "model=mlp,linear", "seed=3").overrides(trial)
    assert overrides == ["seed=3", "model=mlp", "model.hidden=8", "lr=1"]
    assert space_of("model.hidden=8,16", "model=linear,mlp").overrides(Lowest()) == ["model=linear"]
    assert "model.hidden=8" in space_of("model.hidden=8,16", "model=mlp").overrides(Lowest())
    student = space_of("embedder@student=static,minilm", "student.batch_size=8,9").overrides(Lowest())
    assert student == ["embedder@student=static", "student.batch_size=8"]


def test_of_a_head_of_the_users_own_nothing_is_known():
    assert space_of("model.width=1,2", model="mine").overrides(Lowest()) == ["model.width=1"]


def test_the_command_line_comes_after_the_yaml():
    space = space_of("lr=5", "seed=1,2", params={"lr": "interval(0.0,1.0)", "seed": "range(0,9)", "batch_size": 32,
                                              "head": None})  # fmt: skip
    assert space.overrides(Lowest()) == ["lr=5", "batch_size=32", "head=null", "seed=1"]


def test_a_grid_has_every_combination_once():
    assert space_of("model=linear,mlp", "model.hidden=8,16", "seed=range(0,2)").grid() == [
        {"model": "linear", "seed": 0}, {"model": "linear", "seed": 1},
        {"model": "mlp", "model.hidden": "8", "seed": 0}, {"model": "mlp", "model.hidden": "8", "seed": 1},
        {"model": "mlp", "model.hidden": "16", "seed": 0}, {"model": "mlp", "model.hidden": "16", "seed": 1},
    ]  # fmt: skip
    assert [one["lr"] for one in space_of("lr=range(0,1,0.25)").grid()] == [0, 0.25, 0.5, 0.75]
    with pytest.raises(ConfigError, match=r"lr=interval\(0.0,1\): sampler=grid needs values that can be counted"):
        space_of("lr=interval(0.0,1)").grid()
    with pytest.raises(ConfigError, match="more than 10,000 combinations"):
        space_of("seed=range(0,200)", "batch_size=range(1,200)").grid()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=interval(1,0)"], r"lr=interval\(1,0\): expected two bounds, the lower one first"),
        (["lr=tag(log,interval(0,1))"], "expected two bounds above 0, the lower one first"),
        (["lr=interval(0,inf)"], "expected two bounds, the lower one first"),
        (["lr=interval(nan,1)"], "expected two bounds, the lower one first"),
        (["seed=1,2", "lr='interval(1e-2)'"], r"lr='interval\(1e-2\)': Hydra cannot read this; expected for instance"),
        (["model.hidden=8,16"], "model.hidden: model=linear has no such setting; those that have: model="),
        (["model.hidden=8,16", "model=linear,orthogonal"], "model=linear, orthogonal has no such setting"),
        (["objective=val/loss,val/cosine_p50"], "objective is the same for all trials of a sweep"),
        (["++trainer.devices=1,2"], "trainer.devices is the same for all trials of a sweep"),
        (["seed=range(3,3)"], r"seed=range\(3,3\): no value is among these"),
    ],
)
def test_what_no_trial_could_have_is_refused(words, says):
    with pytest.raises(ConfigError, match=says):
        space_of(*words)
