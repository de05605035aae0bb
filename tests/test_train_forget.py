"""`train update=RUN forget.…`: pairs are taken out of a head, as a user does it."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from alignkit import load_artifact
from alignkit.heads.kept_moments import KeptMoments
from alignkit.heads.linear import LinearHead
from alignkit.heads.moments import Moments
from alignkit.pairs.base import Pairs
from alignkit.pairs.vector_fingerprints import vector_fingerprints
from alignkit.pairs.vectors import load_vectors
from alignkit.runs.earlier_fit import EarlierFit, pair_fingerprints
from alignkit.runs.fingerprints import FINGERPRINTS, VECTOR_FINGERPRINTS, text_fingerprints
from alignkit.runs.training_sample import TrainingSample
from alignkit.training.solver_batches import SolverBatches
from alignkit.vectors import are_among, l2_normalize

GONE = 12


def save(folder, name, student, teacher):
    for side, vectors in (("student", student), ("teacher", teacher)):
        np.save(folder / f"{name}_{side}.npy", vectors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_pairs):
    """Files of 1,500 pairs, of 40 others, and of some that a head of the former is fitted on."""
    folder = tmp_path_factory.mktemp("vectors")
    for name, count in (("old", 1500), ("new", 40)):
        pairs = make_pairs(count, seed=count)
        save(folder, name, pairs.student, pairs.teacher)
    splits = splits_of(folder, "old")
    # among them rows that confidence refers to, and held-out ones
    fitted = (
        [part.student[: GONE // 2] for part in splits.parts[:2]],
        [part.teacher[: GONE // 2] for part in splits.parts[:2]],
    )
    gone = tuple(np.concatenate(side) for side in fitted)
    save(folder, "gone", *gone)
    save(folder, "unknown", gone[0], gone[1][::-1])
    save(folder, "twice", *(np.concatenate([side, side[:1]]) for side in gone))
    save(folder, "narrow", gone[0][:, :8], gone[1])
    save(folder, "all", *(np.concatenate([part_of(part, side) for part in splits.parts[:2]]) for side in (0, 1)))
    return folder


def part_of(part, side):
    return (part.student, part.teacher)[side][:]


def splits_of(folder, name):
    return load_vectors(*(str(folder / f"{name}_{side}.npy") for side in ("student", "teacher")))


def data(folder, name):
    return ["data=vectors", *(f"data.{side}={folder / f'{name}_{side}.npy'}" for side in ("student", "teacher"))]


def gone_of(folder):
    return Pairs(range(GONE), *(np.load(folder / f"gone_{side}.npy") for side in ("student", "teacher")))


def forget(folder, name="gone"):
    return [f"forget.{side}={folder / f'{name}_{side}.npy'}" for side in ("student", "teacher")]


def run_of(out):
    return Path(re.search(r"head and report: (.+)\n", out)[1])


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory, train_into):
    """Runs that keep their sums; not to be written to."""
    kinds = {"linear": [], "random_features": ["model.features=48"]}
    words = ["keep_moments=true", "html=false", *data(folder, "old")]
    into = tmp_path_factory.mktemp("runs")
    return {kind: train_into(into / kind, f"model={kind}", *more, *words) for kind, more in kinds.items()}


@pytest.fixture
def without(folder, runs, run_command):
    """Take pairs out of a run; returns exit code, what was printed, and the new run."""

    numbers = itertools.count()

    def take_out(kind, name, *words):
        into = f"hydra.run.dir=without_{next(numbers)}"  # not by the second: two may begin in one
        code, out, err = run_command("train", f"update={runs[kind]}", *data(folder, name), "html=false", into, *words)
        return code, " ".join(err.split()), run_of(out) if code == 0 else None

    return take_out


def of_the_rest(folder, run, *names):
    """The closed form of the run's head on all its pairs but those that are gone, and on further ones, in one pass."""
    earlier = EarlierFit.load(run)
    parts = [part for name in ("old", *names) for part in splits_of(folder, name).parts[:2]]
    whole = [np.concatenate([part_of(part, side) for part in parts]) for side in (0, 1)]
    left = ~np.isin(pair_fingerprints(*parts), pair_fingerprints(gone_of(folder)))
    rest = Pairs(range(int(left.sum())), *(side[left] for side in whole))
    batches, space = SolverBatches(rest, device=torch.device("cpu")), earlier.head.kept.space
    head = load_artifact(run).head
    head.solve_from(KeptMoments(Moments.of(space.batches(batches) if space else batches).centered(), space),
                    earlier.head.chosen)  # fmt: skip
    ridge = LinearHead(12, 20)
    ridge.solve(batches, chosen=earlier.ridge.chosen)
    return head, ridge


@pytest.fixture
def answers(make_pairs):
    """What a head makes of other students."""

    def align(head):
        with torch.no_grad():
            return l2_normalize(head(torch.from_numpy(make_pairs(50, seed=9).student))).numpy()

    return align


@pytest.mark.parametrize(
    ("kind", "name", "added"), [("linear", "new", 36), ("random_features", "new", 36), ("linear", "old", 0)]
)
def test_the_head_is_that_of_the_pairs_that_are_left(folder, runs, without, answers, kind, name, added):
    code, err, run = without(kind, name, *forget(folder))
    assert code == 0, err
    head, ridge = of_the_rest(folder, runs[kind], *([name] if added else []))
    updated = answers(load_artifact(run).head)
    np.testing.assert_allclose(updated, answers(head), atol=2e-6)
    assert np.abs(updated - answers(load_artifact(runs[kind]).head)).max() > 2e-5
    np.testing.assert_allclose(answers(load_artifact(run / "baselines" / "ridge").head), answers(ridge), atol=2e-6)
    before, after = (EarlierFit.load(one) for one in (runs[kind], run))
    assert len(after.pairs) == after.head.kept.moments.count == len(before.pairs) - GONE + added
    assert after.head.chosen == before.head.chosen
    report = (run / "alignment_report.md").read_text(encoding="utf-8")
    assert (
        f"12 pairs are taken out of {kind}, whose sums then hold 1,338" in report
        and "itself still holds them" in report
    )
    assert ("no new pairs are added" in report) == (not added)


@pytest.mark.parametrize("name", ["new", "old"])
def test_nothing_in_the_new_run_is_a_vector_or_a_fingerprint_of_them(folder, runs, without, name):
    gone = gone_of(folder)
    students = torch.from_numpy(gone.student)

    def traces(run):
        head = load_file(run / "head" / "head.safetensors")
        references = next(value for key, value in head.items() if key.endswith("references"))
        return [
            int(np.isin(pair_fingerprints(gone), EarlierFit.load(run).pairs).sum()),
            int(np.isin(vector_fingerprints(gone.student), np.load(run / VECTOR_FINGERPRINTS)).sum()),
            int(are_among(torch.from_numpy(TrainingSample.load(run).student), students).sum()),
            int(are_among(torch.from_numpy(references), students).sum()),
        ]

    assert all(traces(runs["linear"]))
    code, err, run = without("linear", name, *forget(folder))
    assert code == 0, err
    assert traces(run) == [0, 0, 0, 0]


def test_an_interrupted_update_goes_on_without_them(folder, without, answers, run_command, monkeypatch):
    def interrupt(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("alignkit.commands.train.carry_out", interrupt)
        code, err, _ = without("linear", "new", *forget(folder), "model.ridge_lambda=0.5", "hydra.run.dir=stopped")
        assert code == 1 and "go on with: python -m alignkit.train resume=" in err
    code, _, err = run_command("train", "resume=stopped")
    assert code == 0, err
    whole = without("linear", "new", *forget(folder), "model.ridge_lambda=0.5", "hydra.run.dir=whole")[2]
    one, other = (EarlierFit.load(run) for run in (Path("stopped"), whole))
    assert one.head.chosen == other.head.chosen == {"ridge_lambda": 0.5}
    np.testing.assert_array_equal(one.pairs, other.pairs)
    np.testing.assert_array_equal(answers(load_artifact("stopped").head), answers(load_artifact(whole).head))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unknown", "was not fitted on 12 of these 12 pairs, row 0 first"),
        ("twice", "row 12 repeats a pair that the head of"),
        ("narrow", "forget: holds 8-d vectors of the student"),
        ("all", "these are all 1,350 pairs"),
    ],
)
def test_pairs_that_the_head_was_not_fitted_on_are_refused(folder, without, tmp_path, name, said):
    code, err, _ = without("linear", "new", *forget(folder, name))
    assert code == 1 and said in err and "Traceback" not in err
    assert not list(tmp_path.rglob("head.json"))


def test_forget_needs_a_run_and_both_sides(folder, runs, run_command):
    student, _ = forget(folder)
    for words, said in (
        ([*data(folder, "new"), *forget(folder)], "name it as update=RUN"),
        ([f"update={runs['linear']}", *data(folder, "new"), student], "forget.student and forget.teacher go together"),
        ([f"update={runs['linear']}", *data(folder, "new"), "forget.sentences=x.txt"], "there is no cache to find"),
    ):
        code, _, err = run_command("train", *words)
        assert code == 1 and said in " ".join(err.split()) and "Traceback" not in err


def test_sentences_alone_are_enough_where_their_vectors_are_in_the_cache(run_command, tmp_path):
    texts = [f"sentence {row} of {row * 7} about {'music' if row % 2 else 'rain'}" for row in range(90)]
    (tmp_path / "all.txt").write_text("\n".join(texts), encoding="utf-8")
    sides = ("student=static", "teacher=two_layer")
    assert run_command("embed", "sentences=all.txt", *sides)[0] == 0
    words = (*sides, "data=cached", "data.path=all.txt", "html=false", "trainer.max_epochs=0")
    code, _, err = run_command("train", *words, "model=linear", "keep_moments=true", "hydra.run.dir=run")
    assert code == 0, err
    known = np.load("run/training_texts.npy")
    fitted = [text for text in texts if np.isin(text_fingerprints([text]), known)[0]]
    (tmp_path / "gone.txt").write_text("\n".join(fitted[:3]), encoding="utf-8")
    code, out, err = run_command("train", "update=run", *words, "forget.sentences=gone.txt")
    assert code == 0, err
    new = np.load(run_of(out) / FINGERPRINTS)
    assert np.isin(text_fingerprints(fitted), new).tolist() == [False] * 3 + [True] * (len(fitted) - 3)
    assert len(EarlierFit.load(run_of(out)).pairs) == len(fitted) - 3
    # a sentence that it was tested with, and one that no model has seen
    for text, said in ((next(iter(set(texts) - set(fitted))), "was not fitted on 1 of these 1 pairs"),
                       ("never embedded", "have no teacher vector")):  # fmt: skip
        (tmp_path / "gone.txt").write_text(text, encoding="utf-8")
        code, _, err = run_command("train", "update=run", *words, "forget.sentences=gone.txt")
        assert code == 1 and said in " ".join(err.split())


def test_texts_that_the_run_knows_are_asked_for(folder, run_command, tmp_path):
    """Some pairs with sentences, of which two have the vectors of one."""
    splits = splits_of(folder, "old")
    student, teacher = (np.array(part_of(splits.train, side)[:200]) for side in (0, 1))
    student[1], teacher[1] = student[0], teacher[0]
    save(tmp_path, "told", student, teacher)
    (tmp_path / "told.txt").write_text("".join(f"sentence {row}\n" for row in range(200)), encoding="utf-8")
    words = (*data(tmp_path, "told"), "data.sentences=told.txt", "html=false", "trainer.max_epochs=0")
    code, _, err = run_command("train", *words, "model=linear", "keep_moments=true", "hydra.run.dir=run")
    assert code == 0, err
    known = np.load("run/training_texts.npy")
    prints = text_fingerprints([f"sentence {row}" for row in range(200)])
    first, *others = [row for row in range(2, 200) if prints[row] in known][:5]
    rows = [first, *([0] if prints[0] in known else [])]
    save(tmp_path, "gone", student[rows], teacher[rows])
    code, _, err = run_command("train", "update=run", *words, *forget(tmp_path))
    assert code == 1 and "give forget.sentences=FILE" in " ".join(err.split())
    (tmp_path / "gone.txt").write_text("".join(f"sentence {row}\n" for row in rows), encoding="utf-8")
    code, out, err = run_command("train", "update=run", *words, *forget(tmp_path), "forget.sentences=gone.txt")
    assert code == 0, err
    new = np.load(run_of(out) / FINGERPRINTS)
    assert prints[first] not in new and np.isin(prints[others], new).all()
    assert prints[0] not in known or prints[0] in new  # another pair with these vectors is still there
    (tmp_path / "gone.txt").write_text("".join("something else\n" for _ in rows), encoding="utf-8")
    code, _, err = run_command("train", "update=run", *words, *forget(tmp_path), "forget.sentences=gone.txt")
    assert code == 1 and "but not on its text" in " ".join(err.split())
