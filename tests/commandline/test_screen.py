import importlib
import logging
import os
import shlex
import subprocess
import sys

import pytest
from declaring import COMMANDS, declared
from hash_embedder import HashEmbedder

from alignkit.cache import VectorCache
from alignkit.commandline.helping import help_text
from alignkit.commandline.screen import set_up_logging
from alignkit.pasting import command_line, quoted


def closed_early(*arguments):
    """Run with a reader that goes away after one line, as `head -1` does; returns exit code and stderr."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONUNBUFFERED": ""})  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(), err


@pytest.mark.parametrize(
    "arguments", [["alignkit", "--help"], ["alignkit", "check", "--help"], ["alignkit.check", "--cfg", "job"]]
)
def test_a_reader_that_leaves_ends_a_command_in_peace(arguments):
    assert closed_early(*arguments) == (0, "")


def test_a_reader_that_is_gone_from_the_start_ends_a_command_in_peace(tmp_path):
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(HashEmbedder(dim=16), ["one"])
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["alignkit"], ["alignkit.check", "--help"], ["alignkit.embed", "action=list"]):
        done = subprocess.run([sys.executable, "-m", *arguments], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writing)


def test_a_command_whose_reader_left_goes_on_to_its_own_end(tmp_path, monkeypatch):
    """Exit code 3 of what evaluate was asked to require is not lost in `evaluate … | head`, nor a training's 0."""
    code = "from alignkit.commandline.screen import *\nfrom alignkit.commandline.results import *\nimport sys\n"
    code += (
        "with readers_may_leave():\n Screen(80).print('x' * 99)\n print('y')\n open('end', 'w').close(); sys.exit(3)"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, b"") and (tmp_path / "end").exists()
    words = ["student=static", "trainer.max_epochs=0", "html=false", "confidence=false", "hydra.run.dir=run"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["alignkit.train", *words])
    with open(writing, "w", encoding="utf-8") as gone, pytest.raises(SystemExit) as left:
        monkeypatch.setattr(sys, "stdout", gone)
        importlib.import_module("alignkit.train").main()
    assert left.value.code == 0 and (tmp_path / "run" / "metrics.json").is_file()


def test_a_terminal_obeys_no_word_of_a_message(run_command):
    code, _, err = run_command("train", "resume=no\x1b[31m\x9b2J run")
    assert code == 1 and "no[31m2J run" in err and err.rstrip("\n").isprintable()


def test_a_log_line_is_one_line_so_that_a_command_in_it_can_be_copied(capsys):
    set_up_logging()
    line = "go on with: " + command_line("train", [f"resume={'a  long path/' * 20}"])
    logging.getLogger("alignkit.train").warning("%s", line)
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("shell", ["cmd", "powershell", "sh"])
@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_quoted_for_the_shell_at_hand(monkeypatch, name, shell):
    monkeypatch.setattr("alignkit.pasting.shell_at_hand", lambda: shell)
    shown = help_text(name, "", declared(name).examples).partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(shown) == len(declared(name).examples)
    for line, example in zip(shown, declared(name).examples, strict=True):
        assert line.strip() == " ".join(quoted(word, shell) for word in shlex.split(example))
        assert shell == "sh" or "'" not in line or shell == "powershell"
