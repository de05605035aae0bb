import argparse
import os
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from alignkit import __version__
from alignkit.commandline import (
    allow_lazy_help_strings,
    conf_folder,
    group_choices,
    known_targets,
    quote_overrides,
    without_secrets,
)


def parsed(argument, *others, mounted=()):
    quoted = quote_overrides([argument, *others], mounted)
    override = OverridesParser.create().parse_override(quoted[-1] if not others else quoted[0])
    return override.key_or_group, override.value()


@pytest.mark.parametrize(
    "value",
    [
        "短句 (1).npy",
        "~/vectors.npy",
        "C:\\data\\my vectors (2)\\x.npy",
        "C:\\data (1)\\",
        "it's here.npy",
        "back\\'slash quote.npy",
        "epoch=3-step=10.ckpt",
        "a,b.npy",
        "[draft] one.npy",
        "100% {final}.npy",
        "http://127.0.0.1:11434",
        "qwen2.5:0.5b",
    ],
)
def test_any_path_survives_unquoted(value):
    assert parsed(f"data.student={value}") == ("data.student", value)


def test_quoting_twice_changes_nothing():
    once = quote_overrides(["data.student=短句 (1).npy", "trainer.max_epochs=3", "student=static"], ["student"])
    assert quote_overrides(once, ["student"]) == once


def test_values_that_hydra_reads_stay_as_they_are():
    arguments = ["seed=0", "refit=null", "model=linear", "x=[1,2]", "require={recall@10: 0.9}", "~model", "+new=1"]
    assert quote_overrides(arguments) == arguments


def test_a_sweep_keeps_its_commas_and_its_flag_comes_first():
    assert quote_overrides(["model=linear,mlp", "-m", "seed=0,1"]) == ["-m", "model=linear,mlp", "seed=0,1"]


def test_embedder_groups_are_spelt_as_hydra_wants_them():
    assert quote_overrides(["student=static", "student.model=x"], ["student"]) == [
        "embedder@student=static",
        "student.model=x",
    ]


def test_trainer_settings_are_open():
    assert quote_overrides(["trainer.limit_train_batches=3"]) == ["++trainer.limit_train_batches=3"]


def test_python_3_14_checks_help_strings_and_hydra_still_starts(monkeypatch):
    class LazyHelp:  # what Hydra 1.3 passes for --shell-completion
        def __repr__(self):
            return "lazy"

    def check_help_of_python_3_14(parser, action):
        if action.help and not isinstance(action.help, str):
            raise ValueError("badly formed help string")

    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check_help_of_python_3_14, raising=False)
    add_argument = argparse.ArgumentParser.add_argument

    def add_argument_of_python_3_14(parser, *names, **settings):
        action = add_argument(parser, *names, **settings)
        parser._check_help(action)
        return action

    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", add_argument_of_python_3_14)
    with pytest.raises(ValueError, match="badly formed"):
        argparse.ArgumentParser().add_argument("--lazy", help=LazyHelp())
    allow_lazy_help_strings()
    argparse.ArgumentParser().add_argument("--lazy", help=LazyHelp())
    from hydra._internal.utils import get_args_parser

    get_args_parser()


def test_secrets_are_starred_out():
    settings = {"teacher": {"api_key": "sk-1", "base_url": "https://me:pw@host/v1", "api_key_env": "KEY"}, "n": [1]}
    shown = without_secrets(settings)
    assert "sk-1" not in str(shown) and "pw" not in str(shown)
    assert shown["teacher"]["api_key_env"] == "KEY" and shown["n"] == [1]


def test_help_names_groups_choices_and_examples(run_command):
    code, out, _ = run_command("train", "--help")
    assert code == 0
    for text in ("model=", *group_choices("model"), *group_choices("embedder"), "seed: 0", "alignkit.train -m"):
        assert text in out
    assert out.count("python -m alignkit.train") >= 3


def test_version(run_command):
    assert run_command("train", "--version")[:2] == (0, f"alignkit {__version__}\n")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("model=nonesuch", "unknown model 'nonesuch'; choices: "),
        ("student=nonesuch", "unknown embedder 'nonesuch'; choices: "),
        ("modle=linear", "unknown setting 'modle'"),
        ("model.hiden=3", "unknown setting 'model.hiden'"),
        ("junk", "'junk' is no setting; expected setting=value"),
        ("data=vectors", "data.student is not set"),
        ("threads=0", "threads=0: expected a whole number of at least 1"),
        ("seed=-1", "seed=-1: expected a whole number of at least 0"),
        ("data.student=bge", "student=bge: the demo pack holds vectors of"),  # raised while Hydra builds a part
    ],
)
def test_a_wrong_argument_is_one_line_and_leaves_nothing(run_command, tmp_path, argument, says):
    code, out, err = run_command("train", argument)
    assert code == 1 and out == ""
    assert says in err and err.startswith("alignkit: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_targets_are_those_of_the_yamls():
    assert "alignkit.heads.linear.LinearHead" in known_targets()
    assert all(target.startswith("alignkit.") for target in known_targets())


def test_conf_is_found_beside_the_package():
    assert (conf_folder() / "train.yaml").is_file()


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_console_script_lists_the_commands(arguments):
    done = subprocess.run([sys.executable, "-m", "alignkit", *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and "train" in done.stdout and "usage: alignkit" in done.stdout


def test_the_console_script_names_its_commands_when_one_is_wrong():
    done = subprocess.run([sys.executable, "-m", "alignkit", "trian"], capture_output=True, text=True)
    assert done.returncode == 1 and "unknown command 'trian'; commands: " in done.stderr


def test_hydra_full_error_is_for_this_run_only(run_command, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    run_command("train", "junk")
    assert "HYDRA_FULL_ERROR" not in os.environ
