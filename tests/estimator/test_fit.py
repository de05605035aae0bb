"""The front door in Python: two arrays in, a head out, by the same code as the command."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

import alignkit
from alignkit.errors import ConfigError, DataError
from alignkit.pairs.demo import load_demo

UNTRAINED = {"trainer.max_epochs": 0}


@pytest.fixture(scope="module")
def arrays():
    pairs = load_demo().train
    return np.asarray(pairs.student[:600], np.float32), np.asarray(pairs.teacher[:600], np.float32), pairs


@pytest.fixture(scope="module")
def fitted(arrays):
    student, teacher, pairs = arrays
    return alignkit.fit(student, teacher, texts=pairs.texts[:600], model="linear", settings=UNTRAINED)


def test_six_lines_from_arrays_to_an_embedder(fitted, arrays, tmp_path, capsys):
    student, teacher, _ = arrays
    mapped = fitted.transform(student[:7])
    assert mapped.shape == (7, 384) and mapped.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(mapped, axis=1), 1, atol=1e-6)
    test = load_demo().test
    report = fitted.evaluate(test.student, test.teacher, labels=test.labels, texts=test.texts)
    assert report.verdict.name == "use_with_cascade" and "below 90%" in report.verdict.reasons[0]  # of 600 pairs
    rows = report.rows
    assert rows["aligned"]["ndcg@10"] > rows["student"]["ndcg@10"]
    # 540 vectors tell little of 384 dimensions: what was chosen on 60 texts must not undo what the head learned
    assert rows["aligned"]["ndcg@10"] > rows["aligned_plain"]["ndcg@10"] + 0.05
    report.show()
    shown = capsys.readouterr().out
    assert report.verdict.headline in shown and "aligned" in shown
    assert max(map(len, shown.splitlines())) <= 80
    fitted.save(tmp_path / "my_head")
    again = alignkit.load(tmp_path / "my_head")
    # a notebook shows either where a cell ends with it
    assert repr(again) == "Fitted(linear: 384 -> 384 dimensions)" and repr(fitted).startswith(repr(again)[:-1] + ", ")
    np.testing.assert_array_equal(again.transform(student[:7]), mapped)
    with pytest.raises(ConfigError, match="my_head exists already"):
        fitted.save(tmp_path / "my_head")


@pytest.mark.parametrize("form", ["float16", "float64", "lists", "tensor", "bfloat16", "memmap", "fortran"])
def test_any_form_of_vectors(form, fitted, arrays, tmp_path):
    rows = arrays[0][:5]
    if form == "memmap":
        np.save(tmp_path / "rows.npy", rows)
    given = {
        "float16": lambda: rows.astype(np.float16),
        "float64": lambda: rows.astype(np.float64),
        "lists": rows.tolist,
        "tensor": lambda: torch.from_numpy(rows).requires_grad_(),
        "bfloat16": lambda: torch.from_numpy(rows).bfloat16(),
        "memmap": lambda: np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "fortran": lambda: np.asfortranarray(rows),
    }[form]()
    np.testing.assert_allclose(
        fitted.transform(given), fitted.transform(rows), atol=2e-2 if form == "bfloat16" else 2e-3
    )


def broken(rows):
    spoiled = rows.copy()
    spoiled[3, 1] = np.nan
    return spoiled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t: (s[:-1], t), "student_vectors has 599, teacher_vectors has 600"),
        (lambda s, t: (s[0], t), r"student_vectors: expected an array of shape \(N, D\), got \(384,\)"),
        (lambda s, t: (broken(s), t), "student_vectors: row 3 holds nan"),
        (lambda s, t: (s, t * 0), "teacher_vectors: 600 zero vectors"),
        (lambda s, t: (s[:10], t[:10]), "10 pairs, expected at least 20"),
        (lambda s, t: ([[1.0, 2.0], [1.0]], t), "student_vectors: expected rows of equal length"),
        (lambda s, t: (np.full(s.shape, "x"), t), "student_vectors: expected numbers"),
        (lambda s, t: (s[:0], t[:0]), r"got \(0, 384\)"),
    ],
)
def test_what_is_wrong_is_one_line(change, message, arrays):
    with pytest.raises(DataError, match=message) as error:
        alignkit.fit(*change(arrays[0], arrays[1]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"model": "nothing"}, "model=nothing: expected one of auto, "),
        ({"loss": "nothing"}, "loss=nothing: expected one of auto, cos_mse"),
        ({"settings": {"model.hiden": 3}}, "unknown setting 'model.hiden'"),
        ({"settings": {"model._target_": "os.system"}}, "unknown setting 'model._target_'"),
        ({"settings": {"data.path": "x"}}, "unknown setting 'data.path'"),
        ({"settings": {"lr": -1}}, "lr=-1: expected a number above 0"),
        ({"settings": {"trainer.logger": True}}, "logger"),
        ({"seed": "zero"}, "seed"),
        ({"device": "tpu"}, "device=tpu: expected one of auto, cpu, cuda"),
        ({"validation": 0.6, "test": 0.5}, "leave something to train on"),
    ],
)
def test_wrong_settings_are_named(about, message, arrays):
    with pytest.raises(ConfigError, match=message):
        alignkit.fit(arrays[0], arrays[1], **({"model": "mlp"} | about))


def test_the_command_and_the_door_give_the_same_head(arrays, run_command, tmp_path):
    student, teacher = (side[:200, :64] for side in arrays[:2])
    np.save(tmp_path / "student.npy", student)
    np.save(tmp_path / "teacher.npy", teacher)
    code, out, err = run_command(
        "train", "data=vectors", "data.student=student.npy", "data.teacher=teacher.npy", "model=residual",
        "model.hidden=32", "loss=cosine", "trainer.max_epochs=2", "hydra.run.dir=run", "html=false",
    )  # fmt: skip
    assert code == 0, err
    here = alignkit.fit(
        student, teacher, model="residual", loss="cosine", settings={"model.hidden": 32, "trainer.max_epochs": 2}
    )
    there = alignkit.load(tmp_path / "run")
    np.testing.assert_allclose(here.transform(student[:20]), there.transform(student[:20]), atol=1e-6)
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert here.report.rows["aligned"]["overlap@10"] == pytest.approx(rows["aligned"]["overlap@10"], abs=1e-6)
    # and the commands read what the door wrote
    here.save(tmp_path / "saved")
    code, out, err = run_command("evaluate", "head=saved", "data=vectors", "data.student=student.npy",
                       "data.teacher=teacher.npy", "html=false", "time_embedding=false")  # fmt: skip
    assert code == 0, err
    assert here.report.verdict.headline in " ".join(out.split())


def test_same_seed_same_head_and_nothing_is_printed(arrays, capfd):
    student, teacher = (side[:120, :32] for side in arrays[:2])
    about = {"model": "random_features", "settings": {"model.features": 64, **UNTRAINED}, "progress": False}
    first, second = (alignkit.fit(student, teacher, seed=3, **about) for _ in range(2))
    np.testing.assert_array_equal(first.transform(student[:9]), second.transform(student[:9]))
    assert capfd.readouterr().out == ""
    other = alignkit.fit(student, teacher, seed=4, **about)
    assert not np.array_equal(first.transform(student[:9]), other.transform(student[:9]))


def test_auto_says_what_it_tried(arrays, caplog):
    student, teacher, _ = arrays
    caplog.set_level(logging.INFO)
    fitted = alignkit.fit(student, teacher, settings={"model.candidates": ["linear", "low_rank"]})
    assert fitted.report.meta["selection"]["name"] in ("linear", "low_rank")
    assert "auto: linear" in caplog.text


def test_rows_that_belong_together_stay_on_one_side(arrays):
    student, teacher, _ = arrays
    names = [row // 6 for row in range(600)]
    splits = alignkit.fit(student, teacher, together=names, model="linear", settings=UNTRAINED).splits
    sides = [{int(one.partition("-")[2] or one) // 6 for one in map(str, part.ids)} for part in
             (splits.train, splits.validation, splits.test)]  # fmt: skip
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(map(len, sides)) == 100


def test_judgements_over_a_corpus_of_its_own(fitted):
    test = load_demo().test
    queries, corpus = slice(0, 60), slice(60, 400)
    wanted = np.asarray(test.teacher[queries], np.float32) @ np.asarray(test.teacher[corpus], np.float32).T
    qrels = {query: {int(row): 1} for query, row in enumerate(wanted.argmax(axis=1))}
    report = fitted.evaluate(
        test.student[queries], test.teacher[queries], corpus=(test.student[corpus], test.teacher[corpus]), qrels=qrels
    )
    assert report.rows["teacher"]["recall@1"] == 1.0
    assert 0 < report.rows["aligned"]["recall@10"] <= 1
    with pytest.raises(DataError, match=r"corpus\[1\]: 7-d vectors, expected 384-d"):
        fitted.evaluate(test.student[queries], test.teacher[queries], corpus=(test.student, test.teacher[:, :7]))
    with pytest.raises(DataError, match="qrels and corpus_texts need corpus"):
        fitted.evaluate(test.student[queries], test.teacher[queries], qrels=qrels)


def test_queries_that_it_was_fitted_on_are_noticed(fitted, tmp_path):
    train = fitted.splits.train
    assert "trained on part of it" in fitted.evaluate(train.student, train.teacher).verdict.headline
    fitted.save(tmp_path / "head")
    loaded = alignkit.load(tmp_path / "head")
    seen = loaded.evaluate(train.student, train.teacher, texts=train.texts)
    assert "trained on part of it" in seen.verdict.headline


def test_a_report_is_a_page_in_a_notebook_and_files_in_a_folder(fitted, tmp_path):
    page = fitted.report._repr_html_()
    assert page.startswith("<iframe srcdoc=") and "&lt;!doctype html&gt;" in page.lower()
    fitted.report.save(tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} >= {"metrics.json", "report.html"}


def test_a_notebook_is_shown_the_report_without_a_warning(fitted, monkeypatch):
    pytest.importorskip("IPython")
    shown = []
    monkeypatch.setattr("alignkit.estimator.report._in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    fitted.report.show()
    assert shown == [fitted.report]
