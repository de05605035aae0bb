"""The command: from a trained run to its report, exit codes, and one line for whatever is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from alignkit.artifact import load_artifact, save_artifact


@pytest.fixture
def run(run_command, tmp_path):
    """A run of `train` on the demo pack, closed form alone."""
    folder = tmp_path / "outputs" / "train" / "first"
    code, _, err = run_command("train", "trainer.max_epochs=0", f"hydra.run.dir={folder}")
    assert code == 0, err
    return folder


def report_folder(tmp_path):
    return next((tmp_path / "outputs" / "evaluate").iterdir())


def test_the_newest_run_is_evaluated_on_the_demo_pack(run, run_command, tmp_path):
    code, out, err = run_command("evaluate", "time_embedding=false", "learning_curve=true")
    assert code == 0, err
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines() if not line.startswith("report:"))
    assert "Use it" in out and "of teacher" in out
    folder = report_folder(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "alignment_report.md", "alignment_metrics.csv", "metrics.json"} <= names
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["rows"]) == [
        "teacher", "aligned", "aligned_both", "student", "cascade@30", "ridge", "raw", "mean"]  # fmt: skip
    assert metrics["meta"]["verdict"] == "use"
    assert metrics["meta"]["learning_curve"]["forecast"] > 0.6
    assert "near-duplicate" in metrics["meta"]["leaks"]


def test_require_decides_the_exit_code(run, run_command):
    quick = ("time_embedding=false", "html=false", "tensorboard=false", "resamples=50")
    code, _, err = run_command("evaluate", *quick, "require={recall@10: 0.7, share_of_teacher: 0.9}")
    assert code == 0, err
    code, out, err = run_command(
        "evaluate", *quick, "require={recall@10: 0.9, share_of_teacher: 0.99}", "hydra.run.dir=second"
    )
    assert code == 3
    assert "recall@10 is 0.78" in err and "share_of_teacher" in err
    assert "Use it" in out  # the report is written all the same
    code, _, err = run_command("evaluate", *quick, "require={recall@3: 0.9}", "hydra.run.dir=third")
    assert code == 1 and "recall@3" in err and err.count("\n") == 1


def test_a_static_head_is_measured_with_its_own_student(run_command, tmp_path):
    folder = tmp_path / "outputs" / "train" / "static"
    assert run_command("train", "student=static", "trainer.max_epochs=0", f"hydra.run.dir={folder}")[0] == 0
    code, _, err = run_command("evaluate", "time_embedding=false", "html=false", "tensorboard=false", "resamples=50")
    assert code == 0, err
    code, _, err = run_command("evaluate", "student=two_layer", "time_embedding=false")
    assert code == 1
    assert "384-d" in err and "256-d" in err and err.count("\n") == 1


def test_a_bare_head_has_no_ridge_and_mean_and_that_is_said(run, run_command, tmp_path):
    import shutil

    bare = shutil.copytree(run / "head", tmp_path / "bare")
    code, _, err = run_command(
        "evaluate", f"head={bare}", "time_embedding=false", "tensorboard=false", "resamples=50", "hydra.run.dir=out"
    )
    assert code == 0, err
    assert "Rows left out: `ridge`, `mean`" in (tmp_path / "out" / "alignment_report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("head=nowhere",), "no head.json"),
        ((), "no finished run there"),
    ],
)
def test_no_head(run_command, tmp_path, arguments, said):
    code, _, err = run_command("evaluate", *arguments)
    assert code == 1 and said in err and err.count("\n") == 1
    assert not (tmp_path / "outputs" / "evaluate").exists()


def test_a_tampered_or_newer_head_is_refused(run, run_command):
    weights = run / "head" / "head.safetensors"
    original = weights.read_bytes()
    weights.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    code, _, err = run_command("evaluate")
    assert code == 1 and "sha256 differs" in err and err.count("\n") == 1
    weights.write_bytes(original)
    description = json.loads((run / "head" / "head.json").read_text(encoding="utf-8"))
    (run / "head" / "head.json").write_text(json.dumps({**description, "format_version": 99}), encoding="utf-8")
    code, _, err = run_command("evaluate")
    assert code == 1 and "format 99" in err and "upgrade alignkit" in err


def test_vectors_of_another_model_are_named(run, run_command, tmp_path):
    artifact = load_artifact(run)
    other = {**artifact.teacher_identity, "model": "bge-m3"}
    save_artifact(
        type(artifact)(parts=artifact.parts, student_identity=artifact.student_identity, teacher_identity=other),
        tmp_path / "other",
    )
    code, _, err = run_command("evaluate", f"head={tmp_path / 'other'}", "time_embedding=false")
    assert code == 1 and "by all-MiniLM-L6-v2, this head was trained with bge-m3" in err


def test_own_arrays(run_command, tmp_path, make_pairs):
    pairs = make_pairs(400)
    np.save(tmp_path / "student.npy", pairs.student)
    np.save(tmp_path / "teacher.npy", pairs.teacher)
    files = ("data=vectors", "data.student=student.npy", "data.teacher=teacher.npy", "data.test=0.3")
    assert run_command("train", *files, "trainer.max_epochs=0")[0] == 0
    code, out, err = run_command("evaluate", *files, "time_embedding=false", "tensorboard=false")
    assert code == 0, err
    report = (report_folder(tmp_path) / "alignment_report.md").read_text(encoding="utf-8")
    assert "the sentences behind the vectors are not known" in report
    assert "an unknown model" in report


def test_thresholds_out_of_order(run, run_command):
    code, _, err = run_command("evaluate", "thresholds.worth_using=1.2")
    assert code == 1 and "worth_using" in err


def test_beir_and_sts_with_live_models(run, run_command, tmp_path, shared_data):
    pytest.importorskip("sentence_transformers")
    code, out, err = run_command(
        "evaluate", f"head={run}", "data=beir", f"data.path={shared_data / 'ir_adi'}", "tensorboard=false",
        "hydra.run.dir=adi",
    )  # fmt: skip
    assert code == 0, err
    metrics = json.loads((tmp_path / "adi" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["meta"]["queries"] == 35 and metrics["meta"]["corpus"] == 82
    assert metrics["rows"]["aligned"]["total_ms"] > metrics["rows"]["aligned"]["head_ms"] > 0
    assert metrics["rows"]["teacher"]["ndcg@10"] > 0.25  # as the literature has it for this set
    rows = (shared_data / "stsb" / "test.jsonl").read_text(encoding="utf-8").splitlines()[:150]
    (tmp_path / "sts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, out, err = run_command(
        "evaluate", f"head={run}", "data=sts", "data.path=sts.jsonl",
        "tensorboard=false", "hydra.run.dir=sts", "learning_curve=false", "time_embedding=false",
    )  # fmt: skip
    assert code == 0, err
    rows = json.loads((tmp_path / "sts" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["teacher"]["human_spearman"] > 0.8
    assert rows["raw"]["human_spearman"] < 0.3 < rows["aligned"]["human_spearman"] < rows["teacher"]["human_spearman"]
    code, _, err = run_command("evaluate", f"head={run}", "data=beir", f"data.path={shared_data / 'ir_adi'}",
                               "learning_curve=true", "hydra.run.dir=curve")  # fmt: skip
    assert code == 1 and "learning_curve=true needs training pairs" in err
