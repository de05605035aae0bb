"""Two processes on one machine, as `trainer.devices=2 trainer.strategy=ddp` starts them."""

import json
import sys

import numpy as np
import pytest
import torch
from two_processes import solve_nothing_and_draw_otherwise, train_and_start_another, train_by_two

from alignkit import load_artifact, load_head
from alignkit.runs.earlier_fit import EarlierFit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo over several processes is slow to start there")
TWO = ("device=cpu", "threads=1", "html=false", "trainer.devices=2", "trainer.strategy=ddp")


@pytest.fixture
def data(tmp_path, make_pairs):
    """Settings of a small set of files."""
    pairs = make_pairs(409)  # in no part as many rows for both
    for name in ("student", "teacher"):
        np.save(tmp_path / f"{name}.npy", getattr(pairs, name))
    return "data=vectors", "data.student=student.npy", "data.teacher=teacher.npy"


def meta_of(run):
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))["meta"]


def test_a_closed_form_is_what_one_process_solves(run_command, tmp_path, data):
    settings = (*data, "model=linear", "trainer.max_epochs=2", "lr=1e-5", "select_by=val/cosine_mean", "refit=true")
    train_by_two(tmp_path, *settings, *TWO, "batch_size=16", "hydra.run.dir=two")
    code, _, err = run_command("train", *settings, "batch_size=32", "device=cpu", "html=false", "hydra.run.dir=one")
    assert code == 0, err
    one, two = (load_head(tmp_path / run).projection.weight for run in ("one", "two"))
    assert np.allclose(one, two, atol=1e-4)
    metas = [meta_of(tmp_path / run) for run in ("one", "two")]
    assert metas[0]["chosen"] == pytest.approx(metas[1]["chosen"])


@pytest.mark.parametrize("loss", ["rank_kl", "mse"])  # one that compares sentences, and one of single rows
def test_sentences_are_compared_with_those_of_the_other_process(run_command, tmp_path, data, loss):
    """Two batches of 16 are one of 32: without the other half there would be other negatives, and other weights.

    A process that has a row less pads its last batch with one that counts nowhere.
    """
    settings = (*data, f"loss={loss}", "model.init=random", "lr=1e-2", "trainer.max_epochs=2", "confidence=false")
    train_by_two(tmp_path, *settings, *TWO, "batch_size=16", "hydra.run.dir=two")
    for run, size in (("one", 32), ("half", 16)):
        code, _, err = run_command("train", *settings, f"batch_size={size}", "device=cpu", "html=false",
                                   f"hydra.run.dir={run}")  # fmt: skip
        assert code == 0, err
    two, one, half = (load_head(tmp_path / run).projection.weight for run in ("two", "one", "half"))
    assert np.allclose(one, two, atol=1e-4) and not np.allclose(half, two, atol=1e-2)
    metas = [meta_of(tmp_path / run) for run in ("one", "two")]
    assert metas[0]["validation"] == pytest.approx(metas[1]["validation"], abs=1e-5)


def test_all_start_from_the_head_of_the_first(run_command, tmp_path, data):
    """A closed form may settle another rank elsewhere: figures would be of two heads."""
    settings = (
        *data,
        "model=low_rank",
        "model.energy=0.6",
        "trainer.max_epochs=1",
        "confidence=false",
        "refit=false",
        "lr=1e-9",
    )
    train_by_two(tmp_path, *settings, *TWO, "batch_size=16", "hydra.run.dir=two", odd=solve_nothing_and_draw_otherwise)
    code, _, err = run_command("train", *settings, "batch_size=32", "device=cpu", "html=false", "hydra.run.dir=one")
    assert code == 0, err
    one, two = (meta_of(tmp_path / run) for run in ("one", "two"))
    assert two["validation"] == pytest.approx(one["validation"], abs=1e-5)
    heads = [load_head(tmp_path / run) for run in ("one", "two")]
    assert heads[0].arguments() == heads[1].arguments()
    for name, tensor in heads[0].state_dict().items():
        assert np.allclose(tensor, heads[1].state_dict()[name], atol=1e-5)


def test_auto_lets_the_first_process_choose(tmp_path, data):
    """The first process hands its choice to the one that it starts: here it does start it, as a user's command does.

    It is a fork, the second process the same words given to Python.
    """
    settings = ("model=auto", "model.candidates=[linear,mlp]", "model.budget_s=600", "model.target=cosine",
                "trainer.max_epochs=1", "hydra.run.dir=run")  # fmt: skip
    train_and_start_another(tmp_path, *data, *settings, *TWO)
    meta = meta_of(tmp_path / "run")
    assert meta["model"] == meta["selection"]["name"] == load_head(tmp_path / "run").kind()
    assert all(one["seconds"] is not None for one in meta["selection"]["tries"])


def test_two_processes_update_as_one_does(run_command, train_into, make_pairs, tmp_path, data):
    earlier = train_into(tmp_path / "earlier", *data, "model=linear", "keep_moments=true", "html=false")
    new = make_pairs(120, seed=2)
    for name in ("student", "teacher"):
        np.save(tmp_path / f"new_{name}.npy", getattr(new, name))
    settings = (f"update={earlier}", "data=vectors", "data.student=new_student.npy", "data.teacher=new_teacher.npy",
                "trainer.max_epochs=1", "confidence=false")  # fmt: skip
    train_by_two(tmp_path, *settings, *TWO, "batch_size=16", "hydra.run.dir=two")
    code, _, err = run_command("train", *settings, "html=false", "device=cpu", "threads=1", "batch_size=32",
                               "hydra.run.dir=one")  # fmt: skip
    assert code == 0, err
    kept = [EarlierFit.load(tmp_path / run).head.kept.moments for run in ("one", "two")]
    torch.testing.assert_close(kept[0].gram, kept[1].gram, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        one, two = (load_artifact(tmp_path / run).head(torch.from_numpy(new.student)) for run in ("one", "two"))
    np.testing.assert_allclose(*(torch.nn.functional.normalize(answers) for answers in (one, two)), atol=1e-4)
