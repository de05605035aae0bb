"""What a shell may offer at Tab."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from declaring import COMMANDS

from alignkit.__main__ import summaries
from alignkit.commandline import group_choices
from alignkit.commandline.completing import offers
from alignkit.commandline.completion_set_up import SHELLS, install_completion, script_for
from alignkit.errors import ConfigError
from alignkit.exporters.formats import formats


def offered(line):
    *words, prefix = line.split(" ")
    return offers(words, prefix, summaries())


def test_commands_come_first_with_what_they_are_for():
    assert offered("tra") == {"train": summaries()["train"]}
    assert set(offered("")) == set(COMMANDS)
    assert "--install-completion" in offered("--")


def test_settings_of_a_command_and_of_the_parts_that_are_chosen():
    assert {"model=", "seed=", "student="} <= offered("train ").keys()
    assert not [name for name in offered("train ") if "." in name]  # hundreds; they show once a name is begun
    assert "seed=" not in offered("train seed=1 ")
    assert offered("train see") == {"seed=": "the same seed on the same machine gives the same figures"}
    assert "model.hidden=" in offered("train model=mlp model.")
    assert "model.hidden=" not in offered("train model=linear model.")
    assert "trainer.max_epochs=" in offered("train trainer.")
    assert offered("nonesuch mod") == {}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("train model=", group_choices("model")),
        ("train student=", group_choices("embedder")),
        ("train html=", ["true", "false"]),
        ("train model=mlp model.normalise=", ["true", "false"]),
        ("train -m model=", group_choices("model")),
        ("export format=", formats()),
        ("embed dtype=", ["float16", "float32"]),
        ("evaluate language=", ["en", "zh"]),
        ("train whiten_by=", ["self_mrr", "overlap@10"]),
    ],
)
def test_values(line, values):
    name = line.split(" ")[-1]
    assert list(offered(line)) == [f"{name}{value}" for value in values]


def test_a_sweep_goes_on_after_its_commas():
    assert list(offered("train -m model=mlp,lin")) == ["model=mlp,linear"]
    assert offered("train model=mlp,lin") == {}


def test_paths_stand_where_a_text_may(tmp_path, monkeypatch):
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert list(offered("evaluate head=ou")) == ["head=outputs/"]
    assert list(offered("compare ou")) == ["outputs/"]  # which takes them without a name
    assert offered("train seed=") == {}


def test_nothing_that_is_offered_is_refused(run_command):
    """Of every command: the names, by the reader of its words."""
    from alignkit.commandline.conf import mounts_of, settings_of

    for command in COMMANDS:
        known = {*settings_of(command), *(mount.place for mount in mounts_of(command))}
        assert {name[:-1] for name in offered(f"{command} ")} <= known


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "the home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return home


def test_a_shells_own_file_gets_one_line_and_keeps_the_others(home):
    (home / ".bashrc").write_text("alias ll='ls -l'", encoding="utf-8")  # without an end of line
    for _ in range(2):
        assert install_completion("bash").startswith("bash completes alignkit at Tab from now on")
    lines = (home / ".bashrc").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "alias ll='ls -l'" and len(lines) == 3 and lines[2].startswith("source ")
    assert not (home / ".zshrc").exists()


def test_every_shell_has_a_script_and_another_is_told(home):
    for shell in SHELLS:
        assert "alignkit" in script_for(shell) and "_ARGCOMPLETE" in script_for(shell)
    with pytest.raises(ConfigError, match="'bsh' is not one of them; did you mean bash"):
        install_completion("bsh")
    (home / ".config").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(ConfigError, match="--show-completion fish"):
        install_completion("fish")


@pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_what_the_command_takes(home):
    """The real shell reads the line that was written, and asks a real process."""
    program = home / "alignkit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m alignkit "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    subprocess.run([program, "--install-completion", "bash"], check=True, capture_output=True)
    asked = "alignkit train model=loc"
    script = f"""source "$HOME/.bashrc"
COMP_LINE={asked!r} COMP_POINT={len(asked)} COMP_TYPE=9; _python_argcomplete alignkit; echo "${{COMPREPLY[@]}}" """
    path = os.pathsep.join([str(Path(program).parent), os.environ["PATH"]])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.stdout.strip() == "local_mixture", done.stderr
