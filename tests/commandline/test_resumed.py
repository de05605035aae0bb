"""Run folders that come from somebody else, and one's own that go on."""

import logging
import shutil
import sys
from itertools import zip_longest
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from alignkit.commandline.composed import plain
from alignkit.commandline.conf import group_choices
from alignkit.commandline.resumed import config_yaml, resume_command

EMBEDDER = {"_target_": "alignkit.embedders.openai.OpenAIEmbedder", "model": "m", "base_url": "http://127.0.0.1:8080/v1",
            "api_key_env": None}  # fmt: skip
ST = {"_target_": "alignkit.embedders.sentence_transformer.SentenceTransformerEmbedder", "model": "m"}
CACHED = {"_target_": "alignkit.pairs.cached.load_cached", "path": "p.txt", "cache_dir": "cache"}
HARM = "touch harm"


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Settings of a run on the demo pack, as `train` keeps them."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    from alignkit.commandline.conf import conf_folder

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        words = ["loss=cos_mse", "trainer.max_epochs=0", "html=false"]
        config = compose("train", return_hydra_config=True, overrides=words)
        HydraConfig.instance().set_config(config)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        settings = plain(config)
        HydraConfig.instance().cfg = None
    return settings


@pytest.fixture
def resume(run_command, tmp_path, begun):
    """Change the config of a run, resume it; nothing may have been run or asked."""

    def change_and_resume(changes, *words):
        settings = yaml.safe_load(config_yaml(begun))
        for place, value in changes.items():
            node = settings
            *above, last = place.split(".")
            for key in above:
                node = node[key]
            node[last] = value
        (tmp_path / "run").mkdir(exist_ok=True)
        text = config_yaml(settings)
        (tmp_path / "run" / "config.yaml").write_text(text, encoding="utf-8")
        return run_command("train", "resume=run", *words)

    return change_and_resume


STRANGERS = [
    # the places where a part stands, with what is no part of ours, or one of another kind
    {"data": "${oc.create:{_target_: os.system, command: touch harm}}"},
    {"data": {"_target_": "os.system", "command": HARM}},
    {"data": {"_target_": "torch.load", "f": "x.pt", "weights_only": False}},
    {"data": {"_target_": "alignkit.sentences.generators.from_chat_model", "model": "m"}},
    {"data": {**CACHED, "student": "${student}", "teacher": "${teacher}"}},
    {"data": {**CACHED, "student": {"_target_": "os.system", "command": HARM}, "teacher": ST}},
    {"data": {**CACHED, "student": {"command": HARM}, "teacher": ST}},
    {"data": [{"_target_": "os.system", "command": HARM}]},
    {"data.seed": {"_target_": "os.system", "command": HARM}},
    {"data.seed": [{"_target_": "os.system", "command": HARM}]},
    {"data.nonesuch": 1},
    {"data._partial_": True},
    {"data._args_": ["static"]},
    {"data._recursive_": False},
    {"model": {"_target_": "os.system", "command": HARM}},
    {"model._target_": "alignkit.pairs.cached.load_cached"},
    {"model._target_": "alignkit.heads.linear.LinearHead.__init__.__globals__"},
    {"model._partial_": False},
    {"model.recipe": {"_target_": "os.system", "command": HARM}},
    {"model.init": {"_target_": "os.system", "command": HARM}},
    {"loss": {"_target_": "os.system", "command": HARM}},
    {"loss": {"_target_": "alignkit.losses.matryoshka.MatryoshkaLoss", "loss": {"_target_": "os.system"}}},
    {"loss": {"_target_": "alignkit.losses.mix.MixLoss", "losses": {"cosine": {"_target_": "os.system"}}}},
    {"loss": {"_target_": "alignkit.losses.mix.MixLoss", "losses": [{"_target_": "os.system"}]}},
    {"loss._target_": ["alignkit.losses.mse.MseLoss"]},
    {"student": {"_target_": "os.system", "command": HARM}},
    {"teacher": {"_target_": "alignkit.heads.linear.LinearHead"}},
    {"trainer": {"callbacks": [{"_target_": "os.system", "command": HARM}]}},
    {"trainer.logger": {"_target_": "os.system", "command": HARM}},
    {"seed": {"_target_": "os.system", "command": HARM}},
    {"device": {"_target_": "os.system", "command": HARM}},
    {"data": {**CACHED, "student": {**EMBEDDER, "base_url": "http://elsewhere"}, "teacher": ST}, "student": EMBEDDER},
    {"unknown": {"deep": [{"_target_": "os.system", "command": HARM}]}},
]


@pytest.mark.parametrize("changes", STRANGERS, ids=lambda changes: str(changes)[:60])
def test_nothing_of_a_run_folder_is_built_but_what_train_writes(resume, tmp_path, changes):
    code, out, err = resume(changes)
    assert code == 1 and out == "" and err.count("\n") == 1 and err.startswith("alignkit: run")
    assert not (tmp_path / "harm").exists() and sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("name", ["chosen", "overrides"])
def test_what_older_runs_kept_of_their_command_line_is_not_looked_at(resume, name):
    vectors = {"_target_": "alignkit.pairs.vectors.load_vectors", "student": "s.npy", "teacher": "t.npy"}
    code, _, err = resume({"data": {**vectors, name: {"_target_": "os.system", "command": HARM}}})
    assert code == 1 and "s.npy" in err


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${oc.create:{a: b}}", "${", "$(touch harm)"])
def test_texts_of_a_run_folder_are_texts(resume, text):
    # a file of that name is looked for, and nothing is filled in
    vectors = {"_target_": "alignkit.pairs.vectors.load_vectors", "student": f"{text}.npy", "teacher": "t.npy"}
    code, _, err = resume({"data": vectors})
    assert code == 1 and f"{text}.npy" in err


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\ndata: *b\n",
        "data: !!python/object/apply:os.system [touch harm]\n",
        "[" * 5000,
        "[" * 90_000,  # PyYAML needs minutes for it
        "- " * 40_000,
        "a: " + "x" * 200_000,
        "\x00",
        "- 1\n",
        "",
        "data: {_target_: os.system, command: touch harm}\nseed: 0\n",
    ],
)
def test_a_file_that_is_no_config_of_a_run_is_one_line(run_command, tmp_path, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(text, encoding="utf-8")
    code, out, err = run_command("train", "resume=run")
    assert code == 1 and out == "" and err.count("\n") == 1
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("embedder", "asks"),
    [
        ({**EMBEDDER, "base_url": "http://elsewhere:9/v1"}, "student.base_url=http://elsewhere:9/v1"),
        ({**EMBEDDER, "api_key_env": "AWS_SECRET_ACCESS_KEY"}, "student.api_key_env=AWS_SECRET_ACCESS_KEY"),
        ({**EMBEDDER, "api_key_env": "sk-abcdef123456"}, "student.api_key_env=…"),
        ({**EMBEDDER, "base_url": "http://***@elsewhere/v1"}, "student.base_url=…"),
        ({**ST, "trust_remote_code": True}, "student.trust_remote_code=True"),
        ({**ST, "trust_remote_code": False, "model": "./evil model"}, "'student.model=./evil model'"),
        ({**ST, "trust_remote_code": False, "model": "\\\\server\\evil"}, "student.model="),
    ],
)
@pytest.mark.parametrize("within_data", [False, True])
def test_whom_to_talk_to_and_whose_code_to_run_is_not_read_from_a_file(
    resume, monkeypatch, embedder, asks, within_data
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush-hush")
    changes = {"data": {**CACHED, "student": {**embedder}, "teacher": ST}, "teacher": {**ST}} if within_data else {}
    code, _, err = resume({**changes, "student": embedder})
    assert code == 1 and "a run folder may be somebody else's" in err and err.count("\n") == 1
    choice = "openai" if "base_url" in embedder else "sentence_transformer"
    assert f"python -m alignkit.train resume=run student={choice} " in err and asks in err
    assert "hush" not in err and "abcdef123456" not in err


def test_what_the_user_gives_again_is_taken_and_the_run_goes_on(resume, monkeypatch):
    from alignkit.pairs import cached

    seen = []

    def read(path, column):
        raise cached.DataError(f"read {path}")

    monkeypatch.setattr(cached, "read_sentences", read)
    monkeypatch.setattr("alignkit.embedders.openai.OpenAIEmbedder.__init__", lambda self, **own: seen.append(own))
    student = {**EMBEDDER, "base_url": "http://elsewhere:9/v1"}
    changes = {
        "data": {**CACHED, "student": student, "teacher": EMBEDDER},
        "student": {**student},
        "teacher": {**EMBEDDER},
    }
    words = ("student=openai", "student.base_url=http://me:pw@elsewhere:9/v1")
    code, _, err = resume(changes, *words)
    assert (code, err) == (1, "alignkit: read p.txt\n")
    assert [one["base_url"] for one in seen] == ["http://me:pw@elsewhere:9/v1", EMBEDDER["base_url"]]
    code, _, err = resume(changes, "student=ollama", "student.base_url=http://elsewhere:9")
    assert code == 1 and "the run's student is openai; give student=openai" in err


def test_the_command_that_goes_on_names_what_it_will_be_asked_for(begun):
    settings = {**begun, "student": {**EMBEDDER, "api_key_env": "MY_KEY"}}
    assert resume_command(Path("my runs/1"), settings).endswith(
        "'resume=my runs/1' student=openai student.api_key_env=MY_KEY"
        if sys.platform != "win32"
        else "student=openai student.api_key_env=MY_KEY"
    )
    assert resume_command(Path("run"), begun) == "python -m alignkit.train resume=run"
    own = {**begun, "student": {"_target_": "mine.Embedder", "model": "m"}}
    assert resume_command(Path("run"), own) == "python -m alignkit.train resume=run"


def test_every_part_can_be_resumed(composed, tmp_path, run_command):
    """What `train` writes is what `resume` takes: it goes as far as looking for the data."""
    words = ["data=cached", "data.path=no such file.txt", "student=sentence_transformer", "teacher=ollama"]
    words += ["student.model=m", "student.query_prompt=costs ${x} # 1: a"]
    models = [choice for choice in group_choices("model") if choice != "auto"]
    losses = [choice for choice in group_choices("loss") if choice != "auto"]
    for model, loss in zip_longest(models, losses):  # each part once: one knows nothing of the other
        # a run keeps the loss that it took
        parts = [f"{group}={choice}" for group, choice in (("model", model), ("loss", loss or "cos_mse")) if choice]
        (config,) = composed("train", *words, *parts)
        folder = tmp_path / " ".join(parts)
        folder.mkdir()
        (folder / "config.yaml").write_text(config_yaml(config), encoding="utf-8")
        code, _, err = run_command("train", f"resume={folder}")
        assert code == 1 and "there is no file no such file.txt" in err, err
        shutil.rmtree(folder)


@pytest.mark.parametrize(("rank", "level"), [("0", logging.INFO), ("1", logging.ERROR)])
@pytest.mark.parametrize("command", ["train", "distill"])
def test_only_the_first_of_several_processes_logs(run_command, monkeypatch, command, rank, level):
    monkeypatch.setenv("LOCAL_RANK", rank)
    logger = logging.getLogger("alignkit")
    before = logger.level
    code, _, err = run_command(command, "data=vectors", "data.student=none.npy", "data.teacher=none.npy")
    found = logger.level
    logger.setLevel(before)
    assert code == 1 and "none.npy" in err and found == level
