import argparse

import pytest

from alignkit.commandline.flags import allow_lazy_help_strings, split_flags
from alignkit.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "flags", "words"),
    [
        (["model=mlp", "--cfg", "job"], ["--cfg", "job"], ["model=mlp"]),
        (["model=mlp", "-c", "job", "seed=1"], ["--cfg", "job"], ["model=mlp", "seed=1"]),
        (["--cfg=job", "model=mlp", "--resolve"], ["--cfg", "job", "--resolve"], ["model=mlp"]),
        (["model=linear,mlp", "-m", "seed=0,1"], ["--multirun"], ["model=linear,mlp", "seed=0,1"]),
        (["seed=0", "--info"], ["--info", "all"], ["seed=0"]),
        (["--info", "seed=0"], ["--info", "all"], ["seed=0"]),
        (["seed=0", "-i", "defaults", "lr=1"], ["--info", "defaults"], ["seed=0", "lr=1"]),
        (["seed=0", "--config-dir", "my conf"], ["--config-dir", "my conf"], ["seed=0"]),
        (["seed=0", "-cd", "conf", "-cn", "other"], ["--config-name", "other", "--config-dir", "conf"], ["seed=0"]),
        (["seed=0", "--hydra-help"], ["--hydra-help"], ["seed=0"]),
        (["seed=-1", "~model"], [], ["seed=-1", "~model"]),
    ],
)
def test_flags_stand_anywhere(arguments, flags, words):
    assert split_flags(arguments) == (flags, words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["seed=0", "--nonesuch=secret"], "unknown flag --nonesuch; Hydra's flags are -m, "),
        (["seed=0", "--cfg"], "argument --cfg/-c: expected one argument"),
        (["--cfg", "nonesuch"], "invalid choice: 'nonesuch'"),
        (["-m", "seed=0,1", "-c", "job"], "--cfg and --multirun do not go together"),
        (["seed=0", "--resolve"], "--resolve goes with --cfg job"),
        (["--experimental-rerun", "config.pickle"], "reads a pickle, which alignkit never does"),
        (["-x y"], "unknown flag -x; "),
        (["-zsk-proj-a1b2c3d4e5f6"], "unknown flag -z; "),  # what follows may be a key
        (["- 5"], "unknown flag -; "),
        (["-5"], "unknown flag -5"),
    ],
)
def test_a_flag_that_cannot_be_is_one_line(arguments, says):
    with pytest.raises(ConfigError) as raised:
        split_flags(arguments)
    assert says in str(raised.value) and "\n" not in str(raised.value) and "overrides" not in str(raised.value)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_config_is_shown_wherever_the_flag_stands(run_command, tmp_path, order):
    words = ["model=mlp", "seed=7"]
    code, out, err = run_command("train", *words[:order], "--cfg", "job", *words[order:])
    assert code == 0 and err == "" and "MlpHead" in out and "seed: 7" in out
    assert list(tmp_path.iterdir()) == []


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
