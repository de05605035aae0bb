import os
import subprocess
import sys

import pytest
from declaring import COMMANDS, declared

from alignkit import __version__
from alignkit.commandline import conf_folder, group_choices, own_settings, starting
from alignkit.commandline.conf import leaves, mounts_of


def test_help_names_groups_choices_and_examples(run_command):
    code, out, _ = run_command("train", "--help")
    assert code == 0
    for text in ("model=", *group_choices("model"), *group_choices("embedder"), "seed: 0", "alignkit.train -m"):
        assert text in out
    assert out.count("python -m alignkit.train") >= 3


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_and_leaves_nothing_out(run_command, name):
    _, out, _ = run_command(name, "--help")
    lines = [line for line in out.splitlines() if "python -m alignkit" not in line]
    assert max(map(len, lines)) <= 80
    settings = {line.strip().partition(":")[0] for line in lines}
    assert {place.rpartition(".")[2] for place, _ in leaves(own_settings(name))} <= settings
    words = " ".join(out.replace("#", " ").split())
    for line in (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8").partition("_self_")[2].splitlines():
        assert " ".join(line.partition("#")[2].split()) in words


def test_help_tells_what_a_group_means_that_nobody_names(run_command):
    _, out, _ = run_command("serve", "--help")
    assert "(default: the head's own, else two_layer)" in out and "head: (must be given)" in out


def test_version(run_command):
    assert run_command("train", "--version")[:2] == (0, f"alignkit {__version__}\n")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("model=nonesuch", "unknown model 'nonesuch'; choices: "),
        ("student=nonesuch", "unknown embedder 'nonesuch'; choices: "),
        ("modle=linear", "unknown setting 'modle'"),
        (
            "model.hiden=3",
            "unknown setting 'model.hiden'; did you mean model.hidden "
            "(of model=kernel_mlp or model=mlp or model=residual)?",
        ),
        ("junk", "'junk' is not a setting; expected setting=value"),
        ("data..path=x", "'data..path' is not the name of a setting"),
        ("my path=x", "'my path' is not the name of a setting"),
        ("=x", "'' is not the name of a setting"),
        ("lr=[1,", "lr=[1,: expected a number above 0"),
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


def test_the_old_name_of_a_setting_goes_on_working_and_a_wrong_one_names_the_one_that_is_meant(composed, run_command):
    for name in ("cache_dir", "data.cache_dir"):
        (config,) = composed("evaluate", "data=cached", "data.path=x", f"{name}=here")
        assert config["data"]["cache_dir"] == "here"
    for command, given, meant in [
        ("embed", "data.cache_dir=x", "did you mean cache_dir?"),
        ("check", "cachedir=x", "did you mean cache_dir?"),
        ("train", "epochs=3", "did you mean trainer.max_epochs?"),
        ("train", "sentences=x", "did you mean data.sentences (of data=vectors) or extra.sentences"),
        ("train", "data.path=x", "data.path is a setting of data=beir or data=built or data=cached or data=sts"),
        ("embed", "base_url=http://x", "did you mean student.base_url (of student=ollama or student=openai)"),
        ("serve", "loss=mse", "this command has no group 'loss'"),
    ]:
        code, _, err = run_command(command, given)
        assert code == 1 and meant in err and err.count("\n") == 1


def test_no_setting_of_a_command_has_the_name_of_a_group(composed):
    groups = {path.name for path in conf_folder().iterdir() if path.is_dir()}
    for name in COMMANDS:
        mounted = {mount.place for mount in mounts_of(name)}
        clashes = own_settings(name).keys() & (groups | mounted)
        assert not clashes, f"{name}: {clashes} cannot be set, Hydra takes the name for a group; see other_names="
        assert not own_settings(name).keys() & set(declared(name).other_names)
        assert set(declared(name).other_names.values()) <= own_settings(name).keys()
        assert set(declared(name).texts) <= dict(leaves(own_settings(name))).keys()


def test_serve_takes_the_name_that_clients_ask_for_as_model(composed):
    for given in ("model=2024_05", "model_name=2024_05"):
        assert composed("serve", "head=x", given)[0]["model_name"] == "2024_05"


def test_a_launcher_that_is_a_plugin_says_what_to_install(run_command):
    code, _, err = run_command("train", "-m", "hydra/launcher=nonesuch", "seed=0,1")
    assert code == 1 and "unknown hydra/launcher 'nonesuch'; installed: basic" in err
    if "joblib" not in err:  # the plugin itself is not there
        code, _, err = run_command("train", "-m", "hydra/launcher=joblib", "seed=0,1")
        assert code == 1 and "pip install hydra-joblib-launcher" in err and err.count("\n") == 1


@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
def test_threads_that_wait_soon_sleep_unless_the_user_says_otherwise(monkeypatch, given):
    monkeypatch.setattr(os, "environ", dict(given))
    starting._set_threads(None)
    assert os.environ == (given or {"GOMP_SPINCOUNT": "1000"})


def test_threads_are_set_for_what_is_loaded_and_for_what_is_still_to_come(monkeypatch):
    """A server of a table loads NumPy later, and torch never."""
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(os, "environ", dict(os.environ))
    try:
        starting._set_threads(3)
        assert torch.get_num_threads() == 3
        assert {os.environ[name] for name in starting.THREADS} == {"3"}
    finally:
        torch.set_num_threads(before)
