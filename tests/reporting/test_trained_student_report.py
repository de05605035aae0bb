"""The report of a trained student: its rows, what training brought and cost, and what was forgotten."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console

from alignkit.evaluation.embedding_time import EmbeddingTime
from alignkit.evaluation.forgotten import forgetting
from alignkit.evaluation.result import About
from alignkit.evaluation.student_record import StudentRecord
from alignkit.evaluation.table_rows import Times
from alignkit.metrics.intervals import Interval
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.events import log_evaluation
from alignkit.reporting.figure_tables import console_table
from alignkit.reporting.pictures import draw
from alignkit.reporting.report_files import write_report
from alignkit.runs.table_report import BudgetPoint, TableReport

RECORD = StudentRecord(
    kept=True, reason="training brought +0.10 overlap@10 on the validation texts (+0.08 to +0.12)", epochs=4,
    best_epoch=3.5, seconds=137.4, texts_per_s=2310.4, teacher_calls=30522,
)  # fmt: skip


@pytest.fixture(scope="module")
def forgotten(demo_set, demo_artifact, before):
    two_layer, static = (demo_set.queries.student, demo_artifact), (before.test.queries.student, before.artifact)
    return forgetting(demo_set.queries.teacher, two_layer, static, source="everyday sentences")


@pytest.fixture(scope="module")
def result(trained, forgotten):
    times = {name: Times(2.0 if "tuned" in name else 7.0, 0.1, 0.4, 20.0) for name in trained.rows}
    about = About(student=dataclasses.replace(RECORD, forgetting=forgotten))
    return dataclasses.replace(trained.with_times(times), about=about)


def test_every_form_of_the_report_says_what_training_brought_and_cost(result, tmp_path):
    write_report(result, tmp_path)
    gain = result.verdict.evidence.over_head
    said = (
        f"training the student: nDCG@10 {gain.value:+.3f} (95% interval {gain.low:+.3f} to {gain.high:+.3f}) over the"
    )
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "alignment_report.md")}
    texts["console"] = " ".join("\n".join(console_words(result)).split())
    for name, text in texts.items():
        assert said in text, name
        assert "took 137 s at 2,310 texts/s and 30,522 calls of the teacher" in text, name
        assert "the trained student was kept, as it was after 3.5 of 4 epochs: training brought" in text, name
        assert "a query takes 2.50 ms and 20.0 MB of models; with the head alone 7.50 ms and 20.0 MB of" in text
    page, markdown = texts["report.html"], texts["alignment_report.md"]
    assert "models MB" in page and "models MB" in markdown
    assert "May this student stand in for the teacher?" in page and '<tr class="tuned">' in page
    assert "tr.tuned td { font-weight: 600" in page and "tr.aligned td" not in page
    assert "| **tuned** |" in markdown and "| **aligned** |" not in markdown
    assert "what there was before" in page and "untouched student" in markdown
    assert "| group | queries | tuned | interval | student_tuned | teacher | share of the teacher |" in markdown
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["meta"]["student_training"]["texts_per_s"] == 2310.4
    assert metrics["rows"]["tuned"]["models_mb"] == 20


def test_what_was_forgotten_is_an_alarm_with_its_figures(result, forgotten, tmp_path):
    write_report(result, tmp_path)
    loss = forgotten.changes["overlap@10"]
    warning = f"overlap@10 {loss.before.value:.3f} before, {loss.after.value:.3f} after ({loss.change.value:+.3f}, 95%"
    for name in ("report.html", "alignment_report.md", "metrics.json"):
        assert warning in (tmp_path / name).read_text(encoding="utf-8"), name
    alarms = [line for line in console_words(result) if line.startswith("  ! ")]
    assert len(alarms) == 1 and warning in alarms[0] and "the student forgot 600 texts" in alarms[0]
    assert "cosine" in alarms[0] and not [line for line in console_words(result) if line.startswith("  - on 600")]


def test_without_a_loss_there_is_a_line_and_no_alarm(result, demo_set, demo_artifact, before):
    students = (before.test.queries.student, before.artifact), (demo_set.queries.student, demo_artifact)
    gained = forgetting(demo_set.queries.teacher, *students, source="everyday sentences")
    about = About(student=dataclasses.replace(RECORD, forgetting=gained))
    lines = list(console_words(dataclasses.replace(result, about=about)))
    assert not [line for line in lines if line.startswith("  ! ")]
    assert any("on 600 texts unlike the training texts (everyday sentences): overlap@10" in line for line in lines)
    unchecked = About(student=dataclasses.replace(RECORD, unchecked="the teacher cannot be called", teacher_calls=None))
    lines = list(console_words(dataclasses.replace(result, about=unchecked)))
    assert "  - whether it forgot other texts was not looked at: the teacher cannot be called" in lines
    assert "  - training the student took 137 s at 2,310 texts/s" in lines


def test_a_student_that_was_kept_as_it_was_is_said(result):
    kept = StudentRecord(kept=False, reason="no epoch was better", epochs=4, best_epoch=0, seconds=3)
    lines = list(console_words(dataclasses.replace(result, about=About(student=kept))))
    assert "  - the student is as it was: no epoch was better" in lines


def test_what_fewer_calls_would_cost_is_in_every_form_of_the_report(result, tmp_path):
    """Whether the student was trained or not."""
    curve = (
        BudgetPoint(29_584, 0.8231),
        BudgetPoint(14_792, 0.8123, Interval(-0.0108, -0.013, -0.009)),
        BudgetPoint(7_396, 0.79, Interval(-0.0331, -0.036, -0.03)),
    )
    table = TableReport(
        folder=tmp_path / "table", entries=35_112, words=4_590, width=384, asked=29_584, calls=29_000, wanted=35_112,
        fitted_on=38_000, known=0.99, tables=("teacher",), seconds=12.0, teacher_seconds=40.2, curve=curve,
        judged_on=1_000,
    )  # fmt: skip
    made = (
        "the student is a table of 35,112 entries (teacher); the teacher was asked for 29,584 of 35,112 that it could "
        "be asked for (29,000 calls, 40 s)"
    )
    cost = (
        "what fewer calls would cost: cosine 0.823 with 29,584 of these entries, -0.011 with 14,792 (95% interval "
        "-0.013 to -0.009), -0.033 with 7,396 (95% interval -0.036 to -0.030); measured on 1,000 training texts"
    )
    for about in (About(table=table), About(table=table, student=RECORD)):
        told = dataclasses.replace(result, about=about)
        write_report(told, tmp_path)
        texts = [(tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "alignment_report.md")]
        for text in (*texts, " ".join("\n".join(console_words(told)).split())):
            assert made in text and cost in text
        meta = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["meta"]
        assert meta["student_table"]["curve"][1]["change"]["low"] == -0.013 and meta["student_table"]["calls"] == 29_000
    without = dataclasses.replace(table, asked=0, calls=0, wanted=0, tables=("input_embeddings",), curve=())
    lines = list(console_words(dataclasses.replace(result, about=About(table=without))))
    said = "the student is a table of 35,112 entries (input_embeddings), made without a call of the teacher"
    assert f"  - {said}" in lines and not [line for line in lines if "fewer calls" in line]


def test_the_tables_fit_80_columns_and_the_pictures_show_both_products(result):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(console_rows(result))
    console.print(console_table(result, "Test split"))
    printed = console.export_text()
    assert "…" not in printed and "student_tuned" in printed and "tuned_plain" in printed
    cosines, said = next((svg, said) for question, svg, said in draw(result) if question.startswith("Are the vectors"))
    assert "after (tuned)" in cosines and "the head alone (aligned)" in cosines
    assert f"after, {result.rows['tuned']['cosine_mean']:.3f}" in said
    assert f"The head alone gives {result.rows['aligned']['cosine_mean']:.3f}" in said


def test_tensorboard_shows_the_product(result, tmp_path):
    log_evaluation(result, tmp_path)
    labels = next(tmp_path.rglob("queries_labels.tsv")).read_text(encoding="utf-8").splitlines()
    assert {line.split("\t")[0] for line in labels[1:]} == {"teacher", "tuned"}


def test_a_model_says_what_it_weighs():
    from alignkit.embedders.base import weights_mb
    from alignkit.embedders.static import StaticEmbedder

    pytest.importorskip("wordllama")
    table = StaticEmbedder()
    assert weights_mb(table) == pytest.approx(table.table.rows.size * 4 / 1e6)
    assert EmbeddingTime(None, "a server").mb is None
