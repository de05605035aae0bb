import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from waiting import HANG_S, until

from alignkit import load_artifact, load_head
from alignkit.commandline import conf_folder
from alignkit.errors import DataError
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.demo import load_demo

ROWS = ["raw", "mean", "ridge", "aligned", "teacher", "student"]


@pytest.fixture
def arrays(tmp_path, make_pairs):
    """Files of pairs in a folder with a space, parentheses and letters that are not ASCII."""
    folder = tmp_path / "my vectors (1) 短句"
    folder.mkdir()
    pairs = make_pairs(200)
    np.save(folder / "student.npy", pairs.student.astype(np.float64))
    np.save(folder / "teacher.npy", pairs.teacher.astype(np.float16))
    return folder


@pytest.fixture
def own_pairs(arrays):
    """Words for `train` where any pairs will do: judging a head on the demo's takes seconds."""
    return ["data=vectors", f"data.student={arrays}/student.npy", f"data.teacher={arrays}/teacher.npy", "html=false"]


def run_folder(out):
    return re.search(r"head and report: (.+)\n", out)[1]


def test_the_default_run_leaves_everything_a_user_needs(whole_pack, run_command, tmp_path):
    code, out, _ = run_command("train")
    assert code == 0
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines() if not line.startswith("head and report"))
    folder = next((tmp_path / "outputs" / "train").iterdir())
    names = {path.name.split(".tfevents")[0] for path in folder.iterdir()}
    assert {"head", "baselines", "metrics.json", "alignment_report.md", "alignment_metrics.csv", "config.yaml",
            "checkpoints", "events.out", "report.html", "held_out_sample.safetensors"} <= names  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = metrics["rows"]
    assert set(rows) >= set(ROWS)
    # the student is the pack's own table; the whole set's figures are known, and the pack is a sixth of it
    assert 0.83 < rows["ridge"]["cosine_mean"] < 0.87 and 0.73 < rows["ridge"]["overlap@10"] < 0.79
    assert rows["aligned"]["cosine_mean"] >= rows["ridge"]["cosine_mean"] - 5e-3
    assert rows["aligned"]["overlap@10"] >= rows["ridge"]["overlap@10"]
    assert abs(rows["raw"]["cosine_mean"]) < 0.1 and rows["teacher"]["cosine_mean"] == pytest.approx(1)
    assert rows["mean"]["spearman"] is None and rows["mean"]["overlap@10"] < 0.1
    assert metrics["meta"]["pairs"] == {"train": 2700, "validation": 300, "test": 600}

    head = load_head(folder)
    assert not head.training
    report = (folder / "alignment_report.md").read_text(encoding="utf-8")
    assert all(f"`{row}`" in report for row in ROWS) and "CLINC150" in report
    raw = (folder / "alignment_metrics.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    lines = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()))
    mine = next(line for line in lines if line["row"] == "aligned")
    assert float(mine["cosine_mean"]) == rows["aligned"]["cosine_mean"] and mine["split"] == "test"
    assert [line["row"] for line in lines if line["split"] == "train"] == ["aligned"]
    assert metrics["meta"]["verdict"] == "use"
    assert "embedding, teacher: not timed: train calls no model" in report
    events = EventAccumulator(str(folder)).Reload()
    logged = events.Scalars("evaluation/student/overlap@10")[0].value
    assert logged == pytest.approx(rows["student"]["overlap@10"]) and (folder / "projector_config.pbtxt").is_file()
    artifact = load_artifact(folder)
    assert artifact.student_identity["backend"] == "table" and artifact.teacher_identity["model"] == "all-MiniLM-L6-v2"


def test_other_data_has_a_student_of_two_layers_where_none_is_named(run_command, tmp_path):
    """The pack's table is the student of the pack alone."""
    lines = "".join(f"how do i change plan number {number}\n" for number in range(12))
    (tmp_path / "mine.txt").write_text(lines, encoding="utf-8")
    code, _, err = run_command("train", "data=cached", "data.path=mine.txt", "html=false")
    assert code == 1 and "which=teacher" in err  # all that is missing is the teacher's side
    assert run_command("train", "data=cached", "data.path=mine.txt", "student=table")[2].startswith(
        "alignkit: student.path is not set"
    )


def test_the_saved_head_gives_what_the_metrics_say(run_command, tmp_path):
    run_command("train", "student=static", "model=mlp", "model.hidden=32", "trainer.max_epochs=1", "html=false",
                "confidence=false", "hydra.run.dir=run")  # fmt: skip
    from alignkit.pairs.demo import load_demo

    test = load_demo("static").test
    aligned = load_artifact(tmp_path / "run").head(torch.from_numpy(test.student.astype(np.float32)))
    cosine = torch.nn.functional.cosine_similarity(aligned, torch.from_numpy(test.teacher.astype(np.float32))).mean()
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert float(cosine) == pytest.approx(rows["aligned"]["cosine_mean"], abs=1e-5)


def test_the_clients_recipe_is_the_default_of_a_random_start(run_command, tmp_path):
    run_command("train", "model.init=random", "html=false", "confidence=false", "hydra.run.dir=run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    recipe = metrics["meta"]["recipe"]
    assert (recipe["max_epochs"], recipe["batch_size"], recipe["lr"], recipe["weight_decay"]) == (5, 64, 1e-3, 1e-4)
    rows = metrics["rows"]
    assert 0.5 < rows["aligned"]["cosine_mean"] < rows["ridge"]["cosine_mean"]
    assert metrics["meta"]["best_epoch"] > 0 and not metrics["meta"]["refitted"]


def test_own_vectors_in_a_folder_that_needs_quoting(run_command, arrays):
    code, out, err = run_command("train", "data=vectors", f"data.student={arrays}/student.npy",
                                 f"data.teacher={arrays}/teacher.npy", "trainer.max_epochs=0",
                                 "html=false")  # fmt: skip
    assert code == 0, err
    rows = json.loads((Path(run_folder(out)) / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["aligned"]["cosine_mean"] > 0.99


def test_tensorboard_has_curves_histogram_table_and_hparams(run_command, tmp_path, own_pairs):
    run_command("train", *own_pairs, "model.init=random", "trainer.max_epochs=2", "batch_size=8", "hydra.run.dir=run")
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()
    for name in ("train/loss", "val/loss", "val/cosine_mean", "val/cosine_p05", "val/cosine_p50", "val/cosine_p95",
                 "val/cosine_centered_mean", "val/spearman", "test/cosine_mean"):  # fmt: skip
        assert name in tags["scalars"], name
    assert len(events.Scalars("val/loss")) == 3  # the starting point and two epochs
    assert "test/cosine" in tags["histograms"] and "test/table/text_summary" in tags["tensors"]
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_a_sweep_gives_a_folder_a_run(run_command, tmp_path, own_pairs):
    code, _, err = run_command("train", "-m", *own_pairs, "model=linear,mlp", "seed=0,1", "trainer.max_epochs=0",
                               "hydra.sweep.dir=sweep")  # fmt: skip
    assert code == 0, err
    runs = [json.loads((tmp_path / "sweep" / str(run) / "metrics.json").read_text()) for run in range(4)]
    assert [(run["meta"]["model"], run["meta"]["seed"]) for run in runs] == [
        ("linear", 0), ("linear", 1), ("mlp", 0), ("mlp", 1)]  # fmt: skip


def test_the_sweepers_figure_is_returned(monkeypatch, tmp_path):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert compose("train").objective == "val/cosine_p50"


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_folder() / "data").glob("*.yaml")))
def test_every_source_of_pairs_can_be_composed(name):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert "_target_" in compose("train", overrides=[f"data={name}"]).data


def test_a_finished_run_is_not_overwritten(run_command, tmp_path, own_pairs):
    arguments = ("train", *own_pairs, "trainer.max_epochs=0", "hydra.run.dir=run")
    assert run_command(*arguments)[0] == 0
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    code, _, err = run_command(*arguments)
    assert code == 1 and "holds a finished run" in err
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before
    assert "that run is finished" in run_command("train", "resume=run")[2]


@pytest.mark.parametrize("made_by", ["not a run", "a stranger"])
def test_resume_builds_nothing_that_alignkit_does_not_name(run_command, tmp_path, made_by):
    run = tmp_path / "run"
    run.mkdir()
    if made_by == "a stranger":
        config = "seed: 0\ndata:\n  _target_: os.system\n  command: touch harm\n"
        (run / "config.yaml").write_text(config, encoding="utf-8")
    code, _, err = run_command("train", "resume=run")
    assert code == 1
    assert ("no config.yaml there" if made_by == "not a run" else "names os.system") in err
    assert not (tmp_path / "harm").exists()


def test_resume_takes_no_other_setting(run_command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    code, _, err = run_command("train", "resume=run", "lr=1")
    assert code == 1 and "leave out lr=1" in err


def test_test_sentences_among_the_training_sentences_stop_the_run():
    def part(texts):
        return Pairs([str(row) for row in range(len(texts))], np.ones((len(texts), 2)), np.ones((len(texts), 2)), texts)

    splits = PairSplits(part(["Call me back.", "b"]), part(["c"]), part(["call me  BACK", "d"]))
    with pytest.raises(DataError, match="1 of 2 test texts are in the training split too"):
        leaks_of_splits(splits)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to one process")
def test_ctrl_c_says_how_to_resume_and_resuming_ends_the_run(run_command, tmp_path, own_pairs):
    settings = [*own_pairs, "model=mlp", "model.hidden=32", "trainer.max_epochs=99999", "early_stop_patience=99999",
                "threads=1", "hydra.run.dir=run"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "alignkit.train", *settings], cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        until(lambda: list((tmp_path / "run").glob("checkpoints/*.ckpt")), process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANG_S)
    finally:
        process.kill()  # it would train for days
    assert process.returncode == 1
    assert "Traceback" not in err
    assert f"python -m alignkit.train resume={tmp_path / 'run'}" in err
    assert not (tmp_path / "run" / "metrics.json").exists()
    # finish sooner: the config is the user's own file
    config, done = tmp_path / "run" / "config.yaml", max((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    text, epochs = config.read_text(encoding="utf-8"), int(done.stem) + 3
    config.write_text(text.replace("max_epochs: 99999", f"max_epochs: {epochs}"), encoding="utf-8")
    code, _, err = run_command("train", "resume=run")
    assert code == 0, err
    meta = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert meta["epochs"] == epochs


def test_a_full_disk_is_one_line(run_command, monkeypatch, tmp_path):
    import errno

    from alignkit import files

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    code, _, err = run_command("train", "trainer.max_epochs=0", "hydra.run.dir=run")
    assert code == 1 and "No space left on device" in err and "Traceback" not in err
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("metrics.json"))


def test_auto_tries_picks_explains_and_trains_what_it_picked(run_command, tmp_path, own_pairs):
    code, _, err = run_command("train", "model=auto", "model.candidates=[linear,low_rank,local_mixture]", *own_pairs,
                               "trainer.max_epochs=0", "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    meta = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert {one["name"] for one in meta["selection"]["tries"]} == {"linear", "low_rank", "local_mixture"}
    assert meta["model"] == meta["selection"]["name"] == load_head(tmp_path / "run").kind()
    assert meta["selection"]["reason"] in (tmp_path / "run" / "alignment_report.md").read_text(encoding="utf-8")


def test_auto_names_the_heads_when_a_candidate_is_none(run_command):
    code, _, err = run_command("train", "model=auto", "model.candidates=[linear,nonesuch]")
    assert code == 1 and "unknown head 'nonesuch'; choices: " in err and "auto" not in err.split("choices")[1]


@pytest.mark.parametrize("data", ["beir", "sts"])
def test_a_set_without_training_pairs_is_refused_in_one_line(run_command, tmp_path, data):
    code, _, err = run_command("train", f"data={data}", f"data.path={tmp_path}")
    assert code == 1
    assert err.startswith(f"alignkit: data={data} is a test set without training pairs") and err.count("\n") == 1
    assert not list((tmp_path / "outputs").rglob("*"))


def test_the_head_learns_how_sure_it_is_unless_told_not_to(whole_pack, run_command, tmp_path, make_pairs):
    pairs = make_pairs(800)
    for side in ("student", "teacher"):
        np.save(tmp_path / f"{side}.npy", getattr(pairs, side))
    own = ("data=vectors", "data.student=student.npy", "data.teacher=teacher.npy", "confidence=false")
    assert run_command("train", "student=static", "trainer.max_epochs=0", "html=false", "hydra.run.dir=sure")[0] == 0
    assert run_command("train", *own, "trainer.max_epochs=0", "html=false", "hydra.run.dir=unsure")[0] == 0
    files = [tmp_path / run / "metrics.json" for run in ("sure", "unsure")]
    metas = [json.loads(file.read_text(encoding="utf-8"))["meta"] for file in files]
    assert set(load_artifact(tmp_path / "sure").parts) == {"query_head", "whitening", "confidence"}
    assert "confidence" not in {*load_artifact(tmp_path / "unsure").parts, *metas[1]}
    fifth = next(one for one in metas[0]["confidence"]["routing"] if one["share"] == 0.2)
    assert fifth["overlap"] > fifth["random"] + 0.01 and metas[0]["confidence"]["spearman"] > 0.2
    assert "confidence" in metas[0]["seconds"]


def test_too_few_validation_pairs_give_a_head_without_confidence(run_command, tmp_path, arrays):
    code, _, err = run_command("train", "data=vectors", f"data.student={arrays / 'student.npy'}",
                               f"data.teacher={arrays / 'teacher.npy'}", "trainer.max_epochs=0",
                               "html=false", "hydra.run.dir=run")  # fmt: skip
    assert code == 0 and "confidence: not learned" in err
    assert set(load_artifact(tmp_path / "run").parts) == {"query_head"}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("confidence=no", "confidence=no: expected true or false"),
        ("html=1", "html=1: expected true or false"),
        ("refit=maybe", "refit=maybe: expected true or false"),
        ("objective=val/cosine", "objective=val/cosine: expected one of val/loss, "),
        ("trainer=5", "trainer=5: expected settings by name, such as trainer.max_epochs=5"),
        ("trainer.logger=false", "trainer.logger=False: not taken"),
        ("+trainer.max_step=5", "did you mean trainer.max_steps?"),
        ("trainer.val_check_interval=1000", "an epoch has 15 batches"),
        ("trainer.limit_train_batches=.0001", "no batch is left of 15"),
        ("trainer.precision=7", "trainer.precision=7: expected one of auto, bf16, 32-true, "),
        ("loss.mse_weight=2", "loss.mse_weight is a setting of loss=cos_mse, which is not chosen"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_and_leaves_nothing(run_command, tmp_path, setting, says):
    code, _, err = run_command("train", setting, "student=static", "hydra.run.dir=run")
    assert code == 1 and err.count("\n") == 1 and says in err
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_few_steps_keeps_them_and_says_how_it_ended(run_command, tmp_path):
    code, _, err = run_command("train", "student=static", "model.init=random", "lr=0.01", "trainer.max_steps=20",
                               "batch_size=16", "trainer.log_every_n_steps=0", "html=false", "confidence=false",
                               "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    meta = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert meta["best_epoch"] == meta["epochs"] == pytest.approx(20 / 57)
    report = (tmp_path / "run" / "alignment_report.md").read_text(encoding="utf-8")
    assert "kept: the state after 0.351 epochs; training ended after 0.351 epochs: trainer.max_steps=20" in report
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["aligned"]["cosine_mean"] > 0.4


def test_pairs_from_elsewhere_are_weighted_by_what_they_bring(run_command, tmp_path):
    demo = load_demo("two_layer")
    for side in ("student", "teacher"):
        vectors = np.asarray(getattr(demo.train, side), dtype=np.float32)[:, :96]
        np.save(tmp_path / f"own_{side}.npy", vectors[:200])
        np.save(tmp_path / f"more_{side}.npy", vectors[200:700])
    own = ("train", "data=vectors", "data.student=own_student.npy", "data.teacher=own_teacher.npy", "html=false",
           "trainer.max_epochs=0", "confidence=false")  # fmt: skip
    more = ("extra=vectors", "extra.student=more_student.npy", "extra.teacher=more_teacher.npy")
    assert run_command(*own, "hydra.run.dir=alone")[0] == 0
    code, _, err = run_command(*own, *more, "hydra.run.dir=both")
    assert code == 0, err
    alone, both = (
        json.loads((tmp_path / run / "metrics.json").read_text(encoding="utf-8")) for run in ("alone", "both")
    )
    assert alone["meta"]["pairs"]["test"] == both["meta"]["pairs"]["test"]
    assert both["meta"]["pairs"]["train"] == alone["meta"]["pairs"]["train"] + 500
    assert both["rows"]["aligned"]["cosine_mean"] > alone["rows"]["aligned"]["cosine_mean"]
    start = "vector files: more_student.npy and more_teacher.npy: an extra pair counts"
    note = next(note for note in both["meta"]["notes"] if note.startswith(start))
    assert note in (tmp_path / "both" / "alignment_report.md").read_text(encoding="utf-8")
    code, _, err = run_command(*own, "extra=beir", "extra.path=nowhere")
    assert code == 1 and "extra=beir is a test set without training pairs" in err


def test_with_a_price_the_report_names_what_the_next_step_costs(run_command, tmp_path):
    given = ("html=false", "trainer.max_epochs=0", "whiten_by=null", "confidence=false", "hydra.run.dir=run")
    words = ("teacher=openai", "teacher.model=large", "teacher.price_per_million_tokens=0.13")
    code, out, err = run_command("train", *given, *words)
    assert code == 0, err
    said = " ".join(out.split())
    assert "That takes 1,200 more calls of the teacher: about" in said and "at 0.13 a million" in said
    curve = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]["learning_curve"]
    assert curve["calls"] == 1_200 and curve["cost"]["price"] == 0.13 and curve["cost"]["estimated"] is True
    assert run_command("train", *given, "teacher.price_per_million_tokens=cheap")[0] == 1
