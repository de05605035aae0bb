"""Keys: refused wherever they stand, shown nowhere."""

import json

import pytest
from declaring import COMMANDS

from alignkit.commandline.words import PRIVATE, as_given
from alignkit.errors import CacheError

KEY = "sk-proj-a1b2c3d4e5f6g7h8"
# a place of each kind: names of variables, other settings, unknown ones, Hydra's own, words that are no settings
PLACES = [
    "teacher.api_key_env={}",
    "student.api_key_env={}",
    "generator.api_key_env={}",
    "token_env={}",
    "api_key_env={}",
    "teacher.model={}",
    "teacher.base_url=http://host/v1?api_key={}",
    "student.query_prompt=Bearer {}",
    "out={}",
    "head={}",
    "cache_dir=caches/{}",
    "model={}",
    "teacher={}",
    "+teacher.headers={{Authorization: Bearer {}}}",
    "+note={}",
    "++trainer.x={}",
    "~{}",
    "{}",
    "--{}",
    "--config-name={}",
    "hydra.run.dir=outputs/{}",
    "hydra.job.name={}",
    "hydra.sweep.subdir={}",
    "{}=1",
    "teacher.api_key={}",
    "token={}",
    "+password={}",
    "seed={}",
    "require={{a: {}}}",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_refused_wherever_it_stands_and_shown_nowhere(run_command, tmp_path, place):
    for command in ("train", "serve"):
        code, out, err = run_command(command, place.format(KEY))
        assert code == 1 and out == "" and err.startswith("alignkit: ") and err.count("\n") == 1
        assert KEY not in err and KEY[8:] not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_asks_for_the_name_of_a_variable(run_command, tmp_path, command):
    code, _, err = run_command(command, f"teacher.api_key_env={KEY}")
    assert code == 1 and "give teacher.api_key_env=MY_KEY" in err and KEY not in err
    code, _, err = run_command(command, "teacher.api_key=hunter2")
    assert code == 1 and "give its name: teacher.api_key_env=MY_KEY" in err and "hunter2" not in err
    code, _, err = run_command(command, "token=hunter2")
    assert code == 1 and "token_env=MY_KEY" in err and "hunter2" not in err
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_a_name_whatever_it_looks_like(composed, tmp_path):
    (tmp_path / KEY).mkdir()
    assert composed("embed", f"cache_dir={KEY}")[0]["cache_dir"] == KEY


def test_a_variable_that_is_set_is_a_name_whatever_it_looks_like(composed, monkeypatch):
    monkeypatch.setenv("my_lower_key", "x")
    assert composed("embed", "teacher=openai", "teacher.api_key_env=my_lower_key")[0]["teacher"]["api_key_env"]


@pytest.mark.parametrize("sweep", [False, True])
def test_a_password_in_a_url_reaches_the_model_and_no_file(run_command, tmp_path, monkeypatch, sweep):
    import alignkit.embedders.openai as backend

    seen = []
    monkeypatch.setattr(backend.OpenAIEmbedder, "__init__", lambda self, **own: seen.append(own["base_url"]))
    url = "http://me:hunter2!$@127.0.0.1:9/v1"
    words = ["data=cached", "data.path=s.txt", "student=openai", "student.model=m", f"student.base_url={url}",
             "hydra.output_subdir=.hydra", "hydra.run.dir=run", "hydra.sweep.dir=run"]  # fmt: skip
    (tmp_path / "s.txt").write_text("one\n", encoding="utf-8")
    code, out, err = run_command("train", *words, *(["-m", "seed=0,1"] if sweep else []))
    assert code == 1 and seen and set(seen) == {url}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= ({"multirun.yaml"} if sweep else {"config.yaml", "overrides.yaml"})
    for text in (out, err, *(path.read_text(encoding="utf-8", errors="replace") for path in files)):
        assert "hunter2" not in text


def test_a_run_keeps_no_password(run_command, tmp_path):
    code, _, err = run_command("train", "student=static", "teacher=ollama", "teacher.base_url=http://me:hunter2@h:1",
                               "trainer.max_epochs=0", "hydra.run.dir=run", "hydra.output_subdir=.hydra",
                               "confidence=false")  # fmt: skip
    assert code == 0, err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10 and any("tfevents" in path.name for path in files)
    for path in files:
        assert b"hunter2" not in path.read_bytes(), path
    assert "http://***@h:1" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    code, _, err = run_command("evaluate", "head=run", "teacher=ollama", "teacher.base_url=http://me:hunter2@h:1",
                               "time_embedding=false", "hydra.run.dir=evaluation", "resamples=10")  # fmt: skip
    assert code == 0, err
    for path in (tmp_path / "evaluation").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path
    assert "***" in json.dumps(json.loads((tmp_path / "evaluation" / "metrics.json").read_text(encoding="utf-8")))


def test_showing_the_config_shows_no_password(run_command):
    for flags in (["--cfg", "job"], ["--cfg", "job", "--resolve"], ["--cfg", "all"], ["--info"]):
        code, out, err = run_command("embed", "student.base_url=http://me:hunter2@host:1", *flags)
        assert code == 0 and out and "hunter2" not in out + err


def test_the_value_of_a_named_variable_is_starred_out_of_logs(run_command, monkeypatch):
    import logging

    from alignkit.commands import embed

    def talkative(cache_dir):
        logging.getLogger("alignkit.embed").warning("the server said: wrong key %s", "correct-horse")
        raise CacheError("wrong key correct-horse")

    monkeypatch.setenv("MY_KEY", "correct-horse")
    monkeypatch.setattr(embed, "list_models", talkative)
    code, _, err = run_command("embed", "action=list", "teacher=openai", "teacher.api_key_env=MY_KEY")
    assert code == 1 and "correct-horse" not in err and err.count("wrong key ***") == 2


def test_overrides_as_a_user_would_type_them():
    assert as_given(["embedder@student=static", r"data.path='it\'s \${x}'", "seed=0", "++trainer.precision=32"]) == [
        "student=static", "data.path=it's ${x}", "seed=0", "trainer.precision=32",
    ]  # fmt: skip
    assert as_given([f"student.base_url='http://${{oc.env:{PRIVATE}0}}@host'"]) == ["student.base_url=http://***@host"]


@pytest.mark.parametrize(
    "command",
    ["train cache_dir", "embed sentences", "embed save_to", "export out", "demo head", "train data.path",
     "train data.student", "train data.sentences", "build generator.path", "build generator.seeds_folder",
     "evaluate data.path", "check teacher.base_url", "check student.model"],
)  # fmt: skip
def test_an_empty_path_is_not_the_working_folder(run_command, tmp_path, command):
    name, setting = command.split()
    code, out, err = run_command(name, f"{setting}=")
    assert (code, out) == (1, "") and err.startswith(f"alignkit: {setting}= is empty; ")
    assert list(tmp_path.iterdir()) == []
