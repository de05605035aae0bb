"""What is wrong with a config at first sight; `tests/test_floors.py` sees to it that nothing heavy is loaded for it."""

import pytest

from alignkit.commandline.conf import numbers_of
from alignkit.parts import PRICE


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train model=mlp model.hidden=many", "model.hidden=many: expected a number"),
        ("train model=mlp model.hidden=true", "model.hidden=True: expected a number"),
        ("train model=mlp model.normalise=1", "model.normalise=1: expected true or false"),
        ("evaluate student=openai student.model=m student.timeout_s=2min", "student.timeout_s=2min: expected a number"),
        ("train seed=${oc.env:SEED_OF_MINE}", "seed=-5: expected a whole number"),
        ("serve port=many", "port=many: expected 0 to 65535"),  # before what is missing
        ("serve", "head is not set; give it as head=..."),
        ("train -m model=linear,nonesuch", "unknown model 'nonesuch'; choices: "),
        ("train loss=2024", "unknown loss '2024'; choices: "),
        ("train extra=nonesuch", "unknown data 'nonesuch'; choices: "),
        ("train data=index data.index=pgvector", "data.index=pgvector: the index is chosen beside it; write index=pg"),
        ("evaluate data=index data.index={path:x}", "the index is chosen beside it; write index=… and index.SETTING=…"),
        ("train extra=cached extra.path=x extra.student=static", "the student is chosen beside it; write student=stat"),
        ("embed sentences=x student=null which=student", "there is no file x"),  # which is the default
        ("export head=h out=s3://bucket/x", "out=s3://bucket/x: expected a path on a disk; in object storage may lie"),
        ("embed cache_dir=gs://me:pw@bucket/c", "cache_dir=gs://***@bucket/c: expected a path on a disk"),
        ("migrate source=sqlite_vec source.path=s3://bucket/x", "source.path=s3://bucket/x: expected a path on a disk"),
        ("train data=demo resume=s3://bucket/run", "resume=s3://bucket/run: expected a path on a disk"),
        ("train teacher=null", "teacher=null: expected one of "),
        ("evaluate data=null", "data=null: expected one of "),
        ("train -m index=null,pgvector", "pgvector, qdrant, sqlite_vec; for none, leave it out"),
        ("train hydra/launcher=null", "Config group override must be a string"),
        (f"train student=openai student.model=m student.{PRICE}=1", f"those of the teacher are: teacher.{PRICE}=1"),
        (f"choose sentences=x student=openai student.model=m student.{PRICE}=1", f"are: teacher.{PRICE}=1"),
        (f"embed sentences=x student=openai student.model=m student.{PRICE}=1", f"train and choose: teacher.{PRICE}=1"),
        (f"embed sentences=x teacher.{PRICE}=1", f"teacher.{PRICE}=1: embed names no price; leave it out"),
        (f"train learning_curve=false teacher.{PRICE}=1", "train names no price without learning_curve=true"),
        (f"evaluate teacher.{PRICE}=1", "evaluate names no price without learning_curve=true; leave it out"),
        ("train ~model", "~model: this command needs it; model=… gives it another value"),
        ("train ~seed", "~seed: this command needs it; seed=… gives it another value"),
    ],
)
def test_it_is_one_line(run_command, monkeypatch, words, says):
    monkeypatch.setenv("SEED_OF_MINE", "-5")
    code, out, err = run_command(*words.split())
    assert (code, out) == (1, "") and says in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [("model=mlp", "model.hidden=${oc.env:WIDTH_OF_MINE}"), ("student.batch_size=null",)])
def test_what_is_filled_in_or_left_open_is_not_refused(composed, monkeypatch, words):
    monkeypatch.setenv("WIDTH_OF_MINE", "64")
    (config,) = composed("train", *words)
    assert config["seed"] == 0


def test_no_choice_is_that_of_a_group_without_a_default(composed):
    (config,) = composed("train", "index=null", "extra=null", "student=null", "data.student=static")
    assert (config.get("index"), config.get("extra")) == (None, None) and config["data"]["student"] == "static"


def test_a_choice_of_the_users_own_is_no_mistake(run_command, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "own.yaml").write_text("_target_: alignkit.heads.linear.LinearHead\ninit: x\n")
    code, _, err = run_command("train", "--config-dir", str(tmp_path / "mine"), "model=own", "data=sts", "data.path=no")
    assert code == 1 and err.startswith("alignkit: data=sts is a test set")  # which comes after all choices


def test_numbers_are_told_from_texts_by_the_yamls():
    found = numbers_of("train")
    assert {"model.hidden", "student.batch_size", "data.validation", "model.normalise"} <= found
    assert not {"student.model", "data.path", "data.student", "model.init"} & found
