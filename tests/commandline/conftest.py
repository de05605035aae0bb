import sys
from dataclasses import replace

import pytest
from declaring import declared
from omegaconf import OmegaConf


@pytest.fixture
def composed(monkeypatch, tmp_path, capsys):
    """What a command line composes to, as plain values, one for each job; the command itself is not run."""
    monkeypatch.chdir(tmp_path)

    def compose(name, *words):
        found = []

        def task(config):
            found.append(OmegaConf.to_container(config, resolve=True))

        task.__module__ = declared(name).task.__module__
        monkeypatch.setattr(sys, "argv", [name, *words])
        code = replace(declared(name), task=task)()
        assert code == 0, capsys.readouterr().err
        return found

    return compose
