"""A config is composed once, and a mode that somebody sets is Hydra's still."""

import pytest
from hydra._internal.hydra import Hydra


@pytest.fixture
def compositions(monkeypatch):
    counted = []
    compose = Hydra.compose_config
    monkeypatch.setattr(Hydra, "compose_config", lambda *a, **k: counted.append(k["run_mode"].name) or compose(*a, **k))
    return counted


@pytest.mark.parametrize(("words", "runs"), [(["seed=1"], 1), (["-m", "seed=1,2"], 2), (["hydra.run.dir=here"], 1)])
def test_a_config_is_composed_once(composed, compositions, words, runs):
    asked = Hydra.get_mode
    assert len(composed("train", *words)) == runs
    assert compositions == ["RUN" if runs == 1 else "MULTIRUN"]
    assert Hydra.get_mode is asked


@pytest.mark.parametrize("word", ["hydra.mode=MULTIRUN", "++hydra.mode=MULTIRUN"])
def test_a_mode_is_a_word_like_any_other(composed, compositions, word):
    assert len(composed("train", word)) == 1
    assert compositions[-1] == "MULTIRUN"


def test_a_yaml_of_the_users_own_sets_the_mode(composed, tmp_path):
    (tmp_path / "mine").mkdir()
    text = "defaults: [/train, _self_]\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '3,4'}}}\n"
    (tmp_path / "mine" / "sweep.yaml").write_text(text, encoding="utf-8")
    found = composed("train", "--config-dir", str(tmp_path / "mine"), "--config-name", "sweep")
    assert [config["seed"] for config in found] == [3, 4]
