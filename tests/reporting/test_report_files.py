"""The report's files: complete, self-contained, escaped; and the parts that it is put together from."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alignkit.errors import ConfigError
from alignkit.evaluation.columns import Column
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.examples import worst_groups, worst_queries
from alignkit.evaluation.learning_curve import forecast, learning_curve
from alignkit.evaluation.outcome import Evaluation
from alignkit.evaluation.query_times import query_times
from alignkit.evaluation.requirements import failed_requirements
from alignkit.pairs.base import Origin
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.events import log_evaluation
from alignkit.reporting.glossary import MEANINGS, row_of
from alignkit.reporting.pictures import draw, recall_curves
from alignkit.reporting.plots import frontier, frontier_plot
from alignkit.reporting.report_files import write_report

VOID = {"meta", "br", "link", "img", "hr", "input", "path", "use", "rect", "circle"}


@pytest.fixture(scope="module")
def comparison(demo_set, demo_artifact, demo_baselines):
    nasty = [f'{text} <script>alert("x")</script> | pipe' for text in demo_set.queries.texts]
    side = dataclasses.replace(demo_set.queries, texts=nasty)
    return compare(dataclasses.replace(demo_set, queries=side, corpus=side), demo_artifact, demo_baselines)


@pytest.fixture(scope="module")
def evaluation(comparison, demo_splits, demo_set, demo_head):
    curve = learning_curve(demo_splits.train, demo_splits.validation, demo_set, comparison.measure)
    times = query_times(demo_set, {"aligned": demo_head, "ridge": demo_head}, comparison.meta["cascade"])
    for name in ("teacher", "aligned"):  # as if the models had been there
        times[name] |= {"embed_ms": 5.0, "total_ms": 5.5}
    return Evaluation(comparison, times, curve, {"leaks": "none", "head": "here"})


@pytest.fixture(scope="module")
def folder(evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    write_report(evaluation, folder)
    return folder


class Balance(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [
            value for name, value in attributes if name in ("src", "href", "xlink:href") and value[0] != "#"
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_is_well_formed(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(page)
    assert parser.open == [] and parser.sources == []
    assert "<script" not in page and "&lt;script&gt;" in page
    words = " ".join(parser.text)
    order = ["May this head", "Use it", "What the rows are", "Finding", "Likeness", "How certain", "In pictures",
             "Worst groups", "Worst queries", "What the columns mean", "do not show"]  # fmt: skip
    places = [words.index(part) for part in order]
    assert places == sorted(places)
    assert "CLINC150" in words and "real" in words and "600 queries" in words


def test_ids_of_the_pictures_do_not_clash(evaluation):
    ids = []
    for _, svg, answer in draw(evaluation):
        assert answer
        ids += [node.get("id") for node in ET.fromstring(svg).iter() if node.get("id")]
    assert len(ids) == len(set(ids)) > 20


def test_every_plot_is_there(evaluation):
    questions = [question for question, _, _ in draw(evaluation)]
    assert len(questions) == 5
    assert len(draw(dataclasses.replace(evaluation, times={}, curve=None))) == 3


def test_markdown_says_the_same(folder, comparison):
    text = (folder / "alignment_report.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert comparison.verdict.headline in lines[2] and comparison.verdict.reasons[0] in text
    tables = [line for line in lines if line.startswith("|")]
    for header, rule in zip(tables, tables[1:], strict=False):
        if set(rule) <= set("|-:"):
            assert header.count("|") == rule.count("|")
    assert "|  |" not in text and "None" not in text and "nan" not in text.lower().split()
    # a table is cut by an empty line
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        assert not (before.startswith("|") and not line and after.startswith("|"))


def test_json_and_csv(folder, evaluation):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["meta"]["verdict"] == "use" and metrics["meta"]["leaks"] == "none"
    assert metrics["rows"]["aligned"]["ndcg@10"] == evaluation.rows["aligned"]["ndcg@10"]
    assert metrics["rows"]["student"].get("cosine_mean") is None
    assert metrics["meta"]["learning_curve"]["pairs"][-1] == 2700
    raw = (folder / "alignment_metrics.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()))
    assert [row["row"] for row in rows] == list(metrics["rows"])


def test_without_texts_labels_or_baselines(make_pairs, tmp_path):
    from alignkit.artifact import Artifact
    from alignkit.heads.linear import LinearHead
    from alignkit.pairs.evaluation_set import set_of_pairs

    head = LinearHead(12, 20).requires_grad_(False)
    bare = compare(set_of_pairs(make_pairs(80), Origin("arrays", split="all")), Artifact(parts={"query_head": head}))
    write_report(Evaluation(bare), tmp_path)
    text = (tmp_path / "alignment_report.md").read_text(encoding="utf-8")
    assert "Rows left out: `ridge`, `mean`" in text
    assert (tmp_path / "report.html").is_file()


def test_one_query_has_a_report_without_a_map(make_retrieval, tmp_path):
    from alignkit.artifact import Artifact
    from alignkit.heads.linear import LinearHead

    head = LinearHead(16, 24).requires_grad_(False)
    alone = Evaluation(compare(make_retrieval(queries=1), Artifact(parts={"query_head": head}), resamples=20))
    write_report(alone, tmp_path)
    assert len(draw(alone)) == 2
    assert (tmp_path / "report.html").is_file() and (tmp_path / "metrics.json").is_file()


def test_what_cannot_be_rendered_leaves_nothing_behind(evaluation, tmp_path, monkeypatch):
    def broken(_):
        raise RuntimeError

    monkeypatch.setattr("alignkit.reporting.report_files.draw", broken)
    with pytest.raises(RuntimeError):
        write_report(evaluation, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_caption_of_recall_ends_where_the_cascade_does(evaluation, comparison):
    answer = next(answer for question, _, answer in draw(evaluation) if question.startswith("How much is found"))
    curve = recall_curves(comparison)[0]["aligned"]
    assert f"the first 30 hold {curve[29]:.0%}: cascade@30" in answer and "first 100" not in answer


def test_captions_and_tables_say_where_the_models_ran(evaluation, tmp_path):
    timed = {"student": "the server at http://10.0.0.5:1", "teacher": "not timed: it is dear"}
    remote = dataclasses.replace(evaluation, about={**evaluation.about, "timed": timed})
    assert any("student: the server at http://10.0.0.5:1" in answer for _, _, answer in draw(remote))
    write_report(remote, tmp_path)
    for name in ("report.html", "alignment_report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "embedding, student: the server at http://10.0.0.5:1" in text
        assert "embedding, teacher: not timed: it is dear" in text


def test_shares_of_the_teacher_are_a_table(folder, comparison):
    share = f"{comparison.rows['aligned']['recall@10_share']:.0%}"
    for name in ("report.html", "alignment_report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        table = text[text.index("As shares of the teacher") :][:1500]
        assert share in table and "100%" in table and "divided by the teacher" in table


def test_the_frontier_is_what_nothing_beats():
    quality = {"teacher": 1.0, "aligned": 0.9, "student": 0.9, "ridge": 0.8, "raw": 0.0}
    total_ms = {"teacher": 20.0, "aligned": 3.0, "student": 2.0, "ridge": 3.0, "raw": 3.0}
    assert frontier(quality, total_ms) == ["student", "teacher"]


def test_rows_on_one_spot_share_a_label():
    quality = {"teacher": 1.0, "aligned": 0.9, "ridge": 0.91, "student": 0.2}
    svg = frontier_plot(quality, {"teacher": 30.0, "aligned": 10.0, "ridge": 10.1, "student": 10.0}, "nDCG@10")
    assert "aligned, ridge" in svg and "10^" not in svg and "student" in svg


def test_worst_groups_come_first(comparison):
    groups, count = worst_groups(comparison)
    losses = [group.aligned - group.teacher for group in groups]
    assert count == 10 and len(groups) == 10 and losses == sorted(losses)
    assert groups[0].queries == 60


def test_worst_queries_are_those_that_lose_most(comparison):
    failures = worst_queries(comparison)
    figures = comparison.figures["ndcg@10"]
    assert failures[0].aligned - failures[0].teacher == pytest.approx(
        float((figures["aligned"] - figures["teacher"]).min())
    )
    assert all(failure.found[0] != failure.query for failure in failures)


def test_recall_curves_end_where_the_table_says(comparison):
    curves, _ = recall_curves(comparison)
    assert curves["aligned"][9] == pytest.approx(comparison.rows["aligned"]["recall@10"])
    overlap = dataclasses.replace(comparison, meta={**comparison.meta, "measure": "overlap@10"})
    assert recall_curves(overlap)[0]["aligned"][9] == pytest.approx(comparison.rows["aligned"]["overlap@10"])


def test_the_learning_curve_grows_and_ends_at_the_ridge_head(evaluation, comparison):
    curve = evaluation.curve
    assert curve.pairs == (84, 168, 337, 675, 1350, 2700)
    assert all(np.diff(curve.cosines) > 0)
    assert curve.figures[-1] == pytest.approx(comparison.rows["ridge"]["ndcg@10"], abs=0.02)
    assert curve.figures[-1] <= curve.forecast <= 1


def test_too_few_pairs_have_no_learning_curve(make_pairs, demo_set):
    assert learning_curve(make_pairs(30), make_pairs(20), demo_set, "overlap@10") is None


def test_forecast_by_hand():
    assert forecast([10, 20, 40], [0.2, 0.4, 0.5]) == pytest.approx(0.55)
    assert forecast([10, 20, 40], [0.2, 0.3, 0.6]) == pytest.approx(0.9)
    assert forecast([10, 20, 40], [0.2, 0.5, 0.4]) == 0.4
    assert forecast([10, 20], [0.2, 0.5]) is None


def test_times_are_apart_and_unknown_ones_are_none(demo_set, demo_head):
    times = query_times(demo_set, {"aligned": demo_head}, "cascade@30")
    assert set(times) == {"teacher", "student", "aligned", "aligned_both", "cascade@30"}
    assert times["aligned"]["head_ms"] > 0 and times["aligned"]["search_ms"] > 0
    assert times["aligned"]["embed_ms"] is None and times["aligned"]["total_ms"] is None


def test_requirements(comparison):
    share = comparison.meta["shares"]["aligned"]["value"]
    assert failed_requirements(comparison, {"recall@10": 0.5, "share_of_teacher": share}) == []
    failed = failed_requirements(comparison, {"recall@10": 0.99, "share_of_teacher": 1.0})
    assert len(failed) == 2 and "at least 0.99 is required" in failed[0]
    with pytest.raises(ConfigError, match="'recall@7' was not measured; known here: .*share_of_teacher"):
        failed_requirements(comparison, {"recall@7": 0.5})


def test_the_terminal_gets_80_columns(evaluation):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(console_rows(evaluation))
    printed = console.export_text()
    assert "…" not in printed and "nDCG@10" in printed and "of teacher" in printed
    assert next(iter(console_words(evaluation))).endswith("(use)")


def test_everything_that_is_shown_is_explained(comparison):
    for name, row in comparison.rows.items():
        assert all(row_of(name))
        assert {key for key in row if not key.endswith("_share")} <= set(Column)
    assert set(Column) <= set(MEANINGS)


def test_tensorboard_gets_figures_and_the_projector(evaluation, tmp_path):
    log_evaluation(evaluation, tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("evaluation/aligned/ndcg@10")[0].value == pytest.approx(evaluation.rows["aligned"]["ndcg@10"])
    tensors = list(tmp_path.rglob("tensors.tsv"))
    assert len(tensors) == 1 and len(tensors[0].read_text(encoding="utf-8").splitlines()) == 1000
    assert (tmp_path / "projector_config.pbtxt").is_file()
