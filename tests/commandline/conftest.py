import sys

import pytest
from declaring import declared
from omegaconf import OmegaConf

from alignkit.commandline.sides import PACKAGED_SIDES, complete_sides
from alignkit.commandline.starting import start
from alignkit.commands.embed import OLLAMA


@pytest.fixture
def composed(monkeypatch, tmp_path, capsys, packaged_yamls_are_read_once):
    """What a command line composes to, as plain values, one for each job; the command itself is not run."""
    monkeypatch.chdir(tmp_path)

    def compose(name, *words):
        found = []

        def task(_, config):
            if "student" in declared(name).completed:
                complete_sides(config, None, otherwise=OLLAMA if name == "embed" else PACKAGED_SIDES)
            found.append(OmegaConf.to_container(config, resolve=True))

        monkeypatch.setattr(sys, "argv", [name, *words])
        code = start(declared(name), list(words), task)
        assert code == 0, capsys.readouterr().err
        return found

    return compose
