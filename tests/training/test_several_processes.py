"""Two processes on one machine, as `trainer.devices=2 trainer.strategy=ddp` starts them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from alignkit import load_head

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo over several processes is slow to start there")
TWO = ("device=cpu", "threads=1", "html=false", "trainer.devices=2", "trainer.strategy=ddp")


@pytest.fixture
def data(tmp_path, make_pairs):
    """Settings of a small set of files."""
    pairs = make_pairs(400)
    for name in ("student", "teacher"):
        np.save(tmp_path / f"{name}.npy", getattr(pairs, name))
    return "data=vectors", "data.student=student.npy", "data.teacher=teacher.npy"


def train_by_two(folder, *settings):
    command = [sys.executable, "-m", "alignkit.train", *settings, *TWO]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("head and report") == 1
    return done


def meta_of(run):
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))["meta"]


def test_a_closed_form_is_what_one_process_solves(run_command, tmp_path, data):
    settings = (*data, "model=linear", "trainer.max_epochs=2", "lr=1e-5", "select_by=val/cosine_mean", "refit=true")
    train_by_two(tmp_path, *settings, "batch_size=16", "hydra.run.dir=two")
    code, _, err = run_command("train", *settings, "batch_size=32", "device=cpu", "html=false", "hydra.run.dir=one")
    assert code == 0, err
    one, two = (load_head(tmp_path / run).projection.weight for run in ("one", "two"))
    assert np.allclose(one, two, atol=1e-4)
    metas = [meta_of(tmp_path / run) for run in ("one", "two")]
    assert metas[0]["chosen"] == pytest.approx(metas[1]["chosen"])


def test_auto_lets_the_first_process_choose(tmp_path, data):
    train_by_two(tmp_path, *data, "model=auto", "model.candidates=[linear,low_rank,mlp]", "model.budget_s=20",
                 "model.target=cosine", "trainer.max_epochs=1", "hydra.run.dir=run")  # fmt: skip
    meta = meta_of(tmp_path / "run")
    assert meta["model"] == meta["selection"]["name"] == load_head(tmp_path / "run").kind()
    assert all(one["seconds"] is not None for one in meta["selection"]["tries"])
