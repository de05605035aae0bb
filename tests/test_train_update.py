"""`train update=RUN`: pairs are added to a head, as a user does it."""

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alignkit import load_artifact
from alignkit.errors import ConfigError
from alignkit.estimator.updating import Update
from alignkit.heads.kept_moments import KeptMoments
from alignkit.heads.linear import LinearHead
from alignkit.heads.moments import Moments
from alignkit.pairs.vector_fingerprints import vector_fingerprints
from alignkit.pairs.vectors import load_vectors
from alignkit.runs.earlier_fit import MOMENTS, EarlierFit
from alignkit.runs.fingerprints import FINGERPRINTS, VECTOR_FINGERPRINTS, text_fingerprints
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.runs.training_sample import TrainingSample
from alignkit.training.checks import check_keeps_moments
from alignkit.training.solver_batches import SolverBatches
from alignkit.vectors import are_among, l2_normalize


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_pairs):
    """Files of 300 pairs, of 120 others, of both together, and of 120 whose teacher has nothing to do with them."""
    folder = tmp_path_factory.mktemp("vectors")
    old, new = make_pairs(300, seed=1), make_pairs(120, seed=2)
    sides = {
        "old": (old.student, old.teacher),
        "new": (new.student, new.teacher),
        "both": tuple(np.concatenate(side) for side in ((old.student, new.student), (old.teacher, new.teacher))),
        "mixed_up": (new.student, np.roll(new.teacher, 1, axis=0)),
        "narrow": (new.student[:, :8], new.teacher),
    }
    for name, (student, teacher) in sides.items():
        np.save(folder / f"{name}_student.npy", student)
        np.save(folder / f"{name}_teacher.npy", teacher)
    return folder


def files(folder, name):
    return ["data=vectors", f"data.student={folder / name}_student.npy", f"data.teacher={folder / name}_teacher.npy"]


def splits_of(folder, name):
    return load_vectors(*(str(folder / f"{name}_{side}.npy") for side in ("student", "teacher")))


def run_of(out):
    return Path(re.search(r"head and report: (.+)\n", out)[1])


def answers(head, folder):
    with torch.no_grad():
        return l2_normalize(head(torch.from_numpy(splits_of(folder, "new").test.student[:]))).numpy()


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory, train_into):
    """A run of each head that keeps its sums; not to be written to."""
    kinds = {"linear": [], "low_rank": ["model.rank=6"], "random_features": ["model.features=48"]}
    words = ["keep_moments=true", "html=false", *files(folder, "old")]
    into = tmp_path_factory.mktemp("runs")
    return {kind: train_into(into / kind, f"model={kind}", *more, *words) for kind, more in kinds.items()}


@pytest.fixture
def update(folder, runs, run_command):
    """Add pairs to a run; returns exit code, what was printed, and the new run."""

    numbers = itertools.count()

    def add(kind, name, *words):
        run = () if any(word.startswith("update=") for word in words) else (f"update={runs[kind]}",)
        into = f"hydra.run.dir=update_{next(numbers)}"  # not by the second: two may begin in one
        code, out, err = run_command("train", *run, *files(folder, name), "html=false", into, *words)
        return code, err, run_of(out) if code == 0 else None

    return add


@pytest.mark.parametrize("kind", ["linear", "low_rank", "random_features"])
def test_the_updated_head_is_that_of_all_pairs_together(folder, runs, update, kind):
    code, err, run = update(kind, "new")
    assert code == 0, err
    before, after = (EarlierFit.load(one) for one in (runs[kind], run))
    assert after.head.chosen == before.head.chosen and len(before.pairs) == 270 and len(after.pairs) == 378
    parts = [part for name in ("old", "new") for part in splits_of(folder, name).parts[:2]]
    together, space = SolverBatches(*parts, device=torch.device("cpu")), before.head.kept.space
    whole = load_artifact(runs[kind]).head
    whole.solve_from(
        KeptMoments(Moments.of(space.batches(together) if space else together).centered(), space), before.head.chosen
    )
    updated, earlier = (answers(load_artifact(one).head, folder) for one in (run, runs[kind]))
    np.testing.assert_allclose(updated, answers(whole, folder), atol=1e-6)
    assert np.abs(updated - earlier).max() > 1e-5
    # later queries are compared with what was held out from both
    held_out = HeldOutSample.load(run)
    for side in ("student", "teacher"):
        rows = np.concatenate([np.asarray(getattr(splits_of(folder, name).test, side)[:]) for name in ("old", "new")])
        kept = torch.from_numpy(getattr(held_out, side))
        assert len(kept) == len(rows) and are_among(kept, torch.from_numpy(rows)).all()
    # the rival is fitted on all pairs as well
    ridge = LinearHead(12, 20)
    ridge.solve(together, chosen=before.ridge.chosen)
    np.testing.assert_allclose(answers(load_artifact(run / "baselines" / "ridge").head, folder), answers(ridge, folder),
                               atol=1e-6)  # fmt: skip


def test_an_update_says_what_it_saw_and_the_next_one_goes_on_from_it(folder, runs, update, run_command):
    _, err, run = update("linear", "new")
    note = "96 new training and 12 validation pairs are added to the 270 of linear"
    assert note in " ".join(err.split()) or note in (run / "metrics.json").read_text(encoding="utf-8")
    assert note in (run / "alignment_report.md").read_text(encoding="utf-8")
    # later checks for pairs that the head has seen know the earlier ones
    known = np.load(run / VECTOR_FINGERPRINTS)
    for name in ("old", "new"):
        assert np.isin(vector_fingerprints(splits_of(folder, name).train.student), known).all()
    again_in = run.with_name("again")
    words = f"update={run}", *files(folder, "both"), "html=false", f"hydra.run.dir={again_in}"
    code, _, err = run_command("train", *words)
    assert code == 0, err
    again = EarlierFit.load(again_in)
    # all 378 pairs are seen; of the 42 test pairs some are dealt to training now
    assert 378 < len(again.pairs) < 420 and "378 pairs are left out" in (again_in / "metrics.json").read_text()


def test_pairs_are_never_added_twice(folder, runs, update):
    code, err, run = update("linear", "both")
    assert code == 0, err
    kept = EarlierFit.load(run)
    assert len(np.unique(kept.pairs)) == len(kept.pairs) == kept.head.kept.moments.count
    assert np.isin(EarlierFit.load(runs["linear"]).pairs, kept.pairs).all()
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert "270 pairs are left out" in json.dumps(metrics)


def test_pairs_that_were_all_seen_are_refused(update):
    code, err, _ = update("linear", "old")
    assert code == 1 and "270 of 300 pairs are among those that its head was fitted on" in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("kind", "name", "words", "said"),
    [
        ("linear", "mixed_up", (), "has nothing in common with their teacher's vectors"),
        ("linear", "narrow", (), "its student gives 12-d vectors, these pairs have 8-d ones"),
        ("linear", "new", ("model=kernel",), "the sums there are of a head with model=linear"),
        ("random_features", "new", ("model=random_features", "model.features=50"), "with model.features=48"),
        ("low_rank", "new", ("model=low_rank", "model.rank=5"), "with model.rank=6"),
        ("linear", "new", ("extra=demo",), "update= and extra= do not go together"),
    ],
)
def test_what_does_not_belong_to_the_run_is_refused(update, tmp_path, kind, name, words, said):
    code, err, _ = update(kind, name, *words)
    assert code == 1 and said in " ".join(err.split()) and "Traceback" not in err
    assert not list(tmp_path.rglob("head.json"))


def test_a_run_without_sums_says_how_to_keep_them(folder, trained_run, run_command):
    code, _, err = run_command("train", f"update={trained_run}", *files(folder, "new"))
    assert code == 1 and "with keep_moments=true" in " ".join(err.split())


@pytest.mark.parametrize("model", ["mlp", "kernel", "orthogonal", "auto"])
def test_other_heads_say_why_they_keep_none(folder, run_command, tmp_path, model):
    code, _, err = run_command("train", f"model={model}", "keep_moments=true", *files(folder, "old"))
    assert code == 1 and "take model=linear, low_rank or random_features" in " ".join(err.split())
    assert not list(tmp_path.rglob("head.json"))


def test_a_damaged_file_of_sums_is_named(folder, runs, run_command, tmp_path):
    copy = shutil.copytree(runs["linear"], tmp_path / "copy")
    content = (copy / MOMENTS).read_bytes()
    (copy / MOMENTS).write_bytes(content[: len(content) // 2])
    code, _, err = run_command("train", f"update={copy}", *files(folder, "new"))
    assert code == 1 and MOMENTS in err and "not the sums that train keeps" in " ".join(err.split())
    shutil.copy(runs["low_rank"] / MOMENTS, copy / MOMENTS)
    code, _, err = run_command("train", f"update={copy}", *files(folder, "new"))
    assert code == 1 and "of two different runs" in " ".join(err.split())


def test_another_lambda_may_be_given(folder, update):
    code, err, run = update("linear", "new", "model.ridge_lambda=10")
    assert code == 0, err
    assert EarlierFit.load(run).head.chosen == {"ridge_lambda": 10}
    assert load_artifact(run).head.arguments()["ridge_lambda"] == 10


def test_training_starts_from_all_pairs_and_says_that_it_sees_the_new_ones(update):
    code, err, run = update("linear", "new", "trainer.max_epochs=1")
    assert code == 0, err
    assert "training from there sees the new pairs alone" in (run / "metrics.json").read_text(encoding="utf-8")


def test_a_few_held_out_pairs_do_not_replace_what_many_chose(runs, update):
    _, _, run = update("linear", "new")  # 12 held-out pairs, after 30
    own, first = (load_artifact(one) for one in (run, runs["linear"]))
    assert "taken over from linear" in own.meta["whitening"]["reason"]
    assert own.parts.keys() == first.parts.keys()
    sample = TrainingSample.load(run)
    assert len(sample.student) == 240 + 96 and len(sample.held_out) == 30 + 12


def test_sentences_that_were_seen_are_left_out_by_their_texts_too(folder, runs, tmp_path):
    """Vectors of another batch, or another precision, differ in their last digits."""
    run = shutil.copytree(runs["linear"], tmp_path / "run")
    splits = splits_of(folder, "new")
    texts = [[f"text {name} of the {row}" for row in range(len(part))] for name, part in enumerate(splits.parts)]
    np.save(run / FINGERPRINTS, text_fingerprints([text.upper() for part in texts for text in part[:3]]))
    train, validation, test = (replace(part, texts=own) for part, own in zip(splits.parts, texts, strict=True))
    _, new = Update.of(run).new_pairs(replace(splits, train=train, validation=validation, test=test))
    assert [len(part) for part in new.parts] == [93, 9, 9]
    assert new.train.texts[0] == "text 0 of the 3" and "9 pairs are left out" in new.origin.notes[-1]


def test_pairs_that_count_by_a_weight_are_not_summed_up_for_good(make_pairs):
    pairs = replace(make_pairs(30), weights=np.full(30, 0.5))
    with pytest.raises(ConfigError, match="pairs of extra= count by a weight"):
        check_keeps_moments(LinearHead(12, 20), "closed_form", pairs)
    with pytest.raises(ConfigError, match="init=random solves nothing"):
        check_keeps_moments(LinearHead(12, 20), "random", make_pairs(30))


@pytest.mark.parametrize("kind", ["linear", "low_rank", "random_features"])
def test_lambda_is_chosen_again_where_the_new_pairs_are_more_than_the_old(
    folder, runs, update, make_pairs, tmp_path, kind
):
    """A run whose λ came out far too strong."""
    many = make_pairs(400, seed=3)
    for side in ("student", "teacher"):
        np.save(folder / f"many_{side}.npy", getattr(many, side))
    run = shutil.copytree(runs[kind], tmp_path / kind)
    own = EarlierFit.load(run)
    strong = [replace(one, chosen={**one.chosen, "ridge_lambda": 50.0}) for one in (own.head, own.ridge)]
    replace(own, head=strong[0], ridge=strong[1]).save(run)
    code, err, few = update(kind, "new", f"update={run}", "hydra.run.dir=few")
    assert code == 0, err
    code, err, new = update(kind, "many", f"update={run}", "hydra.run.dir=many")
    assert code == 0, err
    assert "λ is chosen again" in (new / "alignment_report.md").read_text(encoding="utf-8")
    assert "λ is chosen again" not in (few / "alignment_report.md").read_text(encoding="utf-8")
    chosen = [[one.chosen["ridge_lambda"] for one in (fit.head, fit.ridge)] for fit in map(EarlierFit.load, (few, new))]
    assert chosen[0] == [50, 50] and max(chosen[1]) < 1
    assert EarlierFit.load(new).head.chosen.keys() == own.head.chosen.keys()
    if kind == "linear":  # as a fit on all pairs chooses it on the same held-out ones
        splits, cpu = splits_of(folder, "many"), torch.device("cpu")
        whole = SolverBatches(*splits_of(folder, "old").parts[:2], splits.train, device=cpu)
        expected = LinearHead(12, 20).solve(whole, SolverBatches(splits.validation, device=cpu))
        assert chosen[1] == [expected["ridge_lambda"]] * 2
        code, _, given = update(kind, "many", f"update={run}", "model.ridge_lambda=7", "hydra.run.dir=given")
        assert code == 0 and EarlierFit.load(given).head.chosen["ridge_lambda"] == 7


def test_a_head_that_was_trained_further_keeps_the_sums_of_all_pairs(folder, run_command):
    words = ["model=linear", "keep_moments=true", *files(folder, "old"), "html=false", "trainer.max_epochs=1"]
    code, out, err = run_command("train", *words, "select_by=val/cosine_mean", "hydra.run.dir=further")
    assert code == 0, err
    assert len(EarlierFit.load(run_of(out)).pairs) == EarlierFit.load(run_of(out)).head.kept.moments.count == 270
    code, _, err = run_command("train", "update=further", *files(folder, "old"))
    assert code == 1 and "270 of 300 pairs are among those" in " ".join(err.split())
