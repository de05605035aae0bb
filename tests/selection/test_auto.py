"""`model=auto` as the command runs it: what it is told to choose by steers the training that follows."""

import json
import re

import numpy as np
import pytest

from alignkit.selection import choose


@pytest.fixture
def own_pairs(tmp_path, make_pairs):
    """Words for `train` where any pairs will do: judging a head on the demo's takes seconds."""
    return files_of(make_pairs(800), tmp_path)


def files_of(pairs, tmp_path):
    for side in ("student", "teacher"):
        np.save(tmp_path / f"{side}.npy", getattr(pairs, side))
    files = ("data=vectors", "data.student=student.npy", "data.teacher=teacher.npy")
    return *files, "html=false", "trainer.max_epochs=0"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("model.target=cosine",), "val/cosine_mean"),
        (("model.target=overlap@10", "loss=cosine"), "val/overlap@10"),
        (("model.target=cosine", "select_by=val/spearman"), "val/spearman"),
    ],
)
def test_the_target_steers_the_training(run_command, tmp_path, own_pairs, settings, expected):
    code, _, err = run_command("train", "model=auto", "model.candidates=[linear]", *own_pairs, *settings,
                               "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    meta = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert meta["recipe"]["select_by"] == expected


def test_what_cannot_work_is_said_before_the_search(run_command, tmp_path):
    code, _, err = run_command("train", "model=auto", "loss=info_nce", "loss.in_batch=false", "hydra.run.dir=run")
    assert code == 1 and err.count("\n") == 1 and "needs hard negatives" in err
    assert not (tmp_path / "run").exists()


def test_no_validation_pairs_are_one_line_and_leave_nothing(run_command, tmp_path):
    code, _, err = run_command("train", "data.validation=0", "hydra.run.dir=run")
    assert code == 1 and err.count("\n") == 1 and "no validation pairs" in err
    assert not (tmp_path / "run").exists()


def test_the_report_says_where_the_clock_had_a_part(run_command, tmp_path, own_pairs, monkeypatch):
    monkeypatch.setattr(choose, "_flops_per_s", lambda device: 1e3)  # a very slow machine
    code, _, err = run_command("train", "model=auto", "model.candidates=[linear,low_rank]", *own_pairs,
                               "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    report = (tmp_path / "run" / "alignment_report.md").read_text(encoding="utf-8")
    words = "another run with this seed may choose another head"
    assert words in report and words in " ".join(err.split())
    assert re.search(r"not tried: low_rank, expected to take about [\d,]+ s", report)


def test_the_report_says_what_each_try_gained(run_command, tmp_path, make_pairs):
    many = files_of(make_pairs(1600), tmp_path)  # enough to hold out clusters
    code, _, err = run_command("train", "model=auto", "model.candidates=[linear,low_rank]", *many,
                               "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    report = (tmp_path / "run" / "alignment_report.md").read_text(encoding="utf-8")
    assert re.search(
        r"tried: linear, 0\.\d+ on held-out texts, 0\.\d+ on held-out clusters, overlap@10 0\.\d+ "
        r"\(95% interval 0\.\d+ to 0\.\d+\), [\d,]+ parameters",
        report,
    )
    assert re.search(
        r"tried: low_rank, .*, gain over ridge [+-]0\.\d+ \(95% interval [+-]0\.\d+ to [+-]0\.\d+\)", report
    )
