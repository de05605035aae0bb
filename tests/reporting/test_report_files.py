"""The report's files: complete, self-contained, escaped; and the parts that it is put together from."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import alignkit.evaluation
from alignkit.evaluation.columns import Column
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.learning_curve import learning_curve
from alignkit.evaluation.result import About
from alignkit.evaluation.table_rows import RowName, Times
from alignkit.pairs.base import Origin
from alignkit.reporting import glossary, plots
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.events import log_evaluation
from alignkit.reporting.pictures import draw
from alignkit.reporting.plots import frontier, frontier_plot
from alignkit.reporting.report_files import write_report
from alignkit.reporting.verdict_words import verdict_words
from alignkit.reporting.written_report import read_report

VOID = {"meta", "br", "link", "img", "hr", "input", "path", "use", "rect", "circle"}


@pytest.fixture(scope="module")
def result(demo_set, demo_artifact, demo_baselines, demo_splits):
    nasty = [f'{text} <script>alert("x")</script> | pipe' for text in demo_set.queries.texts]
    side = dataclasses.replace(demo_set.queries, texts=nasty)
    made = compare(dataclasses.replace(demo_set, queries=side, corpus=side), demo_artifact, demo_baselines)
    curve = learning_curve(demo_splits, demo_set, made.measure)
    # as if the models had been there
    times = {name: Times(5.0 if name in ("teacher", "aligned") else None, 0.1, 0.4) for name in made.rows}
    about = About(leaks="none", head="here", doubts=("who knows",))
    return dataclasses.replace(made.with_times(times), curve=curve, about=about)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    write_report(result, folder)
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


def test_ids_of_the_pictures_do_not_clash(result):
    ids = []
    for _, svg, answer in draw(result):
        assert answer
        ids += [node.get("id") for node in ET.fromstring(svg).iter() if node.get("id")]
    assert len(ids) == len(set(ids)) > 20


def test_the_verdict_and_the_plots_are_read_back(folder, result, tmp_path):
    report = read_report(folder)
    assert report["verdict"] == verdict_words(result.verdict).to_json()
    drawn = [(question, svg.strip(), answer) for question, svg, answer in draw(result)]
    assert [tuple(picture.values()) for picture in report["pictures"]] == drawn
    assert report["alarms"] == json.loads((folder / "metrics.json").read_text("utf-8"))["meta"]["alarms"]["raised"]
    shutil.copy(folder / "metrics.json", tmp_path)
    assert read_report(tmp_path) == {**report, "pictures": []}


@pytest.mark.parametrize("metrics", [None, "", "[]", "{}", '{"meta": {"verdict_text": "use"}}', "\xff"])
def test_a_folder_without_a_report_that_can_be_read_has_none(tmp_path, metrics):
    if metrics is not None:
        (tmp_path / "metrics.json").write_text(metrics, encoding="latin-1")
    assert read_report(tmp_path) is None


def test_every_plot_is_there(result):
    questions = [question for question, _, _ in draw(result)]
    assert len(questions) == 5
    assert len(draw(dataclasses.replace(result.with_times({}), curve=None))) == 3


def test_markdown_says_the_same(folder, result):
    text = (folder / "alignment_report.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    words = verdict_words(result.verdict)
    assert words.headline in lines[2] and words.reasons[0] in text
    tables = [line for line in lines if line.startswith("|")]
    for header, rule in zip(tables, tables[1:], strict=False):
        if set(rule) <= set("|-:"):
            assert header.count("|") == rule.count("|")
    assert "|  |" not in text and "None" not in text and "nan" not in text.lower().split()
    # a table is cut by an empty line
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        assert not (before.startswith("|") and not line and after.startswith("|"))


def test_json_and_csv(folder, result):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["meta"]["verdict"] == "use" and metrics["meta"]["leaks"] == "none"
    assert metrics["rows"]["aligned"]["ndcg@10"] == result.rows["aligned"]["ndcg@10"]
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
    write_report(bare, tmp_path)
    text = (tmp_path / "alignment_report.md").read_text(encoding="utf-8")
    assert "Rows left out: `ridge`, `mean`" in text
    assert (tmp_path / "report.html").is_file()


def test_one_query_has_a_report_without_a_map(make_retrieval, tmp_path):
    from alignkit.artifact import Artifact
    from alignkit.heads.linear import LinearHead

    head = LinearHead(16, 24).requires_grad_(False)
    alone = compare(make_retrieval(queries=1), Artifact(parts={"query_head": head}), resamples=20)
    write_report(alone, tmp_path)
    assert len(draw(alone)) == 2
    assert (tmp_path / "report.html").is_file() and (tmp_path / "metrics.json").is_file()


def test_what_cannot_be_rendered_leaves_nothing_behind(result, tmp_path, monkeypatch):
    def broken(_):
        raise RuntimeError

    monkeypatch.setattr("alignkit.reporting.report_files.draw", broken)
    with pytest.raises(RuntimeError):
        write_report(result, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_caption_of_recall_ends_where_the_cascade_does(result):
    answer = next(answer for question, _, answer in draw(result) if question.startswith("How much is found"))
    curve = result.recall.by_row["aligned"]
    assert f"the first 30 hold {curve[29]:.0%}: cascade@30" in answer and "first 100" not in answer


def test_captions_and_tables_say_where_the_models_ran(result, tmp_path):
    timed = {"student": "the server at http://10.0.0.5:1", "teacher": "not timed: it is dear"}
    remote = dataclasses.replace(result, about=dataclasses.replace(result.about, timed=timed))
    assert any("student: the server at http://10.0.0.5:1" in answer for _, _, answer in draw(remote))
    write_report(remote, tmp_path)
    for name in ("report.html", "alignment_report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "embedding, student: the server at http://10.0.0.5:1" in text
        assert "embedding, teacher: not timed: it is dear" in text


def test_shares_of_the_teacher_are_a_table(folder, result):
    share = f"{result.rows['aligned'].shares['recall@10']:.0%}"
    for name in ("report.html", "alignment_report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        table = text[text.index("As shares of the teacher") :][:1500]
        assert share in table and "100%" in table and "divided by the teacher" in table


def test_the_frontier_is_what_nothing_beats():
    names = [RowName.TEACHER, RowName.ALIGNED, RowName.STUDENT, RowName.RIDGE, RowName.RAW]
    quality = dict(zip(names, (1.0, 0.9, 0.9, 0.8, 0.0), strict=True))
    total_ms = dict(zip(names, (20.0, 3.0, 2.0, 3.0, 3.0), strict=True))
    assert frontier(quality, total_ms) == ["student", "teacher"]


def test_rows_on_one_spot_share_a_label():
    names = [RowName.TEACHER, RowName.ALIGNED, RowName.RIDGE, RowName.STUDENT]
    quality, total_ms = (1.0, 0.9, 0.91, 0.2), (30.0, 10.0, 10.1, 10.0)
    both = (dict(zip(names, figures, strict=True)) for figures in (quality, total_ms))
    svg = frontier_plot(*both, Column.NDCG_10)
    assert "aligned, ridge" in svg and "10^" not in svg and "student" in svg


def test_the_terminal_gets_80_columns(result):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(console_rows(result))
    printed = console.export_text()
    assert "…" not in printed and "nDCG@10" in printed and "of teacher" in printed
    words = list(console_words(result))
    assert words[0].endswith("(use)") and words[-1] == "  ? who knows"


def test_everything_that_is_shown_is_explained_and_has_a_colour(result):
    assert set(glossary.ROWS) == set(plots.COLORS) == set(RowName)
    for column in Column:
        assert column.heading and glossary.MEANINGS[column]
    shown = {key for row in result.rows.values() for key in row.to_json() if not key.endswith("_share")}
    assert shown <= set(glossary.HEADINGS) == set(glossary.MEANINGS)


def test_what_reads_a_result_cannot_be_read_by_what_makes_it():
    """Wording cannot reach back into measuring: nothing that measures imports this room."""
    evaluation = Path(alignkit.evaluation.__file__).parent
    assert not [
        path.name for path in evaluation.glob("*.py") if "alignkit.reporting" in path.read_text(encoding="utf-8")
    ]


def test_tensorboard_gets_figures_and_the_projector(result, tmp_path):
    log_evaluation(result, tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("evaluation/aligned/ndcg@10")[0].value == pytest.approx(result.rows["aligned"]["ndcg@10"])
    tensors = list(tmp_path.rglob("queries.tsv"))
    assert len(tensors) == 1 and len(tensors[0].read_text(encoding="utf-8").splitlines()) == 1000
    config = (tmp_path / "projector_config.pbtxt").read_text(encoding="utf-8")
    assert all((tmp_path / path).is_file() for path in re.findall(r'_path: "(.*)"', config))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["projector"]
    first = [float(number) for number in tensors[0].read_text(encoding="utf-8").splitlines()[0].split("\t")]
    assert first == pytest.approx(result.projection.teacher[0].tolist(), abs=1e-4)
