"""What smaller indexes still find, against searching them by hand."""

import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from needed import needed
from rich.console import Console

from alignkit.codes.kinds import BinaryCode, make_code, parse_codes
from alignkit.errors import ConfigError
from alignkit.evaluation.aligning import align
from alignkit.evaluation.code_table import code_table
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.table_rows import RowName
from alignkit.heads.linear import LinearHead
from alignkit.reporting.code_words import code_cells, code_headings, console_codes
from alignkit.reporting.report_files import html_page, render
from alignkit.reporting.report_words import report_words
from alignkit.vectors import l2_normalize

metrics = needed("sklearn.metrics")

ASKED = parse_codes("int8,binary,dims=128")


@pytest.fixture(scope="module")
def rows(demo_set, demo_head):
    return code_table(demo_set, demo_head, ASKED)


def mean(row, measure, name):
    return row.found[measure][name].mean.value


def test_every_code_at_every_width_with_and_without_rescoring(rows):
    of_width = ("float32 {}", "int8 {}", "int8 {}, rescored", "binary {}", "binary {}, rescored by int8",
                "binary {}, rescored")  # fmt: skip
    assert [row.index.name for row in rows] == [name.format(dims) for dims in (384, 128) for name in of_width]
    sizes = {(row.index.code, row.index.dims): row.index.bytes_a_text for row in rows}
    assert sizes == {
        ("float32", 384): 1536, ("int8", 384): 384, ("binary", 384): 48,
        ("float32", 128): 512, ("int8", 128): 128, ("binary", 128): 16,
    }  # fmt: skip


def test_the_whole_vectors_find_what_the_comparison_says(rows, demo_result):
    whole = rows[0]
    assert mean(whole, "overlap@10", "teacher") == pytest.approx(1)
    for name in ("teacher", "aligned"):
        own = demo_result.rows[RowName(name)].to_json()
        assert mean(whole, "overlap@10", name) == pytest.approx(own["overlap@10"])
        assert mean(whole, "ndcg@10", name) == pytest.approx(own["ndcg@10"])


def test_bits_and_their_rescoring_by_hand(rows, demo_set, demo_head):
    """All distances, sorted; ties by row."""
    teacher = np.asarray(demo_set.corpus.teacher)
    aligned = l2_normalize(align(demo_head, demo_set.queries.student)).numpy()
    scores = teacher @ teacher.T
    np.fill_diagonal(scores, -9)
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    differing = ((aligned[:, None] > 0) != (teacher[None] > 0)).sum(axis=2)
    np.fill_diagonal(differing, 999)
    found = np.argsort(differing, axis=1, kind="stable")[:, :40]
    bits = np.where(teacher > 0, 1.0, -1.0)
    again = np.take_along_axis(
        found, np.argsort(-np.einsum("qd,qkd->qk", aligned, bits[found]), axis=1, kind="stable")[:, :10], axis=1
    )
    by_name = {row.index.name: row for row in rows}
    for name, hits in (("binary 384", found[:, :10]), ("binary 384, rescored", again)):
        shares = [len(set(one) & set(other)) / 10 for one, other in zip(hits, wanted, strict=True)]
        assert mean(by_name[name], "overlap@10", "aligned") == pytest.approx(np.mean(shares), abs=2e-4)


def test_fewer_bytes_find_less_and_rescoring_brings_much_back(rows):
    by_name = {row.index.name: mean(row, "overlap@10", "teacher") for row in rows}
    assert (
        by_name["int8 384, rescored"] > by_name["binary 384, rescored"] > by_name["binary 384"] > by_name["binary 128"]
    )
    assert by_name["binary 384, rescored by int8"] > by_name["binary 384, rescored"]
    assert by_name["float32 384"] > by_name["float32 128"]


def test_intervals_are_those_of_the_other_tables(rows, demo_result):
    """The same draws of the same groups: float32 with all dimensions has the comparison's own intervals."""
    for measure, row_intervals in demo_result.certainty.means.items():
        for name, found in rows[0].found.get(measure, {}).items():
            expected = row_intervals[name]
            assert found.mean.value == pytest.approx(expected.value)
            assert (found.mean.low, found.mean.high) == pytest.approx((expected.low, expected.high))


def test_what_an_index_loses_is_paired_with_float32(rows):
    assert {(one.difference.low, one.difference.high) for one in rows[0].found["ndcg@10"].values()} == {(0, 0)}
    for row in rows[1:]:
        for name, found in row.found["ndcg@10"].items():
            whole = rows[0].found["ndcg@10"][name]
            assert found.difference.value == pytest.approx(found.mean.value - whole.mean.value)
            assert found.difference.low <= found.difference.value <= found.difference.high
            assert found.share.value == pytest.approx(found.mean.value / whole.mean.value)
    by_name = {row.index.name: row.found["ndcg@10"]["aligned"] for row in rows}
    # hard and easy queries are so in every index: paired, the interval is far narrower than the mean's own
    paired, alone = by_name["int8 384, rescored"].difference, by_name["int8 384, rescored"].mean
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)
    assert by_name["binary 128"].difference.high < 0


def test_queries_of_one_label_are_drawn_together(demo_set, demo_head):
    alone = dataclasses.replace(demo_set, labels=[str(row) for row in range(len(demo_set.queries))], groups=None)

    def width(test):
        interval = code_table(test, demo_head, parse_codes("binary"))[0].found["overlap@10"]["aligned"].mean
        return interval.high - interval.low

    assert width(demo_set) > 1.2 * width(alone)


def test_seed_and_number_of_resamples_are_the_users(demo_set, demo_head):
    def interval(**settings):
        return code_table(demo_set, demo_head, parse_codes("binary"), **settings)[0].found["overlap@10"]["aligned"].mean

    assert interval(seed=3) == interval(seed=3) != interval(seed=4)
    assert interval(resamples=10) != interval(resamples=20)


def test_the_file_of_figures_has_the_intervals_too(rows):
    told = rows[1].to_json()
    json.dumps(told, allow_nan=False)
    assert told["code"] == "int8" and told["ndcg"]["aligned"] == mean(rows[1], "ndcg@10", "aligned")
    for kind in ("intervals", "differences", "shares"):
        assert set(told[kind]["ndcg@10"]) == set(told[kind]["overlap@10"]) == {"teacher", "aligned"}
        assert set(told[kind]["ndcg@10"]["aligned"]) == {"value", "low", "high"}


def test_reports_show_intervals_and_differences(rows, demo_result):
    result = dataclasses.replace(demo_result, codes=rows)
    page, text = html_page(result), render("report.md.j2", **report_words(result))
    found = rows[3].found["ndcg@10"]["aligned"]
    mean, lost = found.mean, found.difference
    for document in (page, text):
        assert document.count("less what the same queries find in float32") == 1
        assert f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})" in document
        assert f"{lost.value:+.3f} ({lost.low:+.3f} to {lost.high:+.3f})" in document


def test_judgements_count_where_there_are_any(make_retrieval):
    torch.manual_seed(0)
    test = make_retrieval(queries=30, corpus=60)
    row = code_table(test, LinearHead(16, 24).eval(), parse_codes("binary"))[1]
    code = BinaryCode(24)
    queries, corpus = (code.scanned(code.encode(np.asarray(side.teacher))) for side in (test.queries, test.corpus))
    order = np.argsort(-(queries @ corpus.T), axis=1, kind="stable")
    relevant = np.zeros((30, 60))
    judged = test.judge(np.tile(np.arange(60), (30, 1)))
    relevant[np.arange(30), np.argmax(judged.gains, axis=1)] = 1
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(60)[None], axis=1)
    assert mean(row, "ndcg@10", "teacher") == pytest.approx(metrics.ndcg_score(relevant, -ranks.astype(float), k=10))


def test_without_judgements_there_is_no_ndcg(demo_set, demo_head, demo_artifact):
    bare = dataclasses.replace(demo_set, labels=None, groups=None)
    codes = code_table(bare, demo_head, parse_codes("binary"), resamples=20)
    result = dataclasses.replace(compare(bare, demo_artifact, resamples=20), codes=codes)
    assert code_headings(result) == ["index", "bytes a text", "teacher overlap@10", "aligned overlap@10"]
    assert {len(cells) for cells in code_cells(result)} == {4}


def test_a_terminal_of_80_columns_holds_the_table(rows, demo_result):
    result = dataclasses.replace(demo_result, codes=rows)
    console = Console(width=80, file=io.StringIO())
    console.print(console_codes(result))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == 2 + len(rows)
    assert "…" not in "".join(lines)


def test_a_width_that_the_teacher_does_not_have(demo_set, demo_head):
    with pytest.raises(ConfigError, match="dims=385: the vectors have 384 dimensions"):
        code_table(demo_set, demo_head, parse_codes("dims=385"))


def test_ranges_are_of_the_whole_corpus(demo_set):
    corpus = np.asarray(demo_set.corpus.teacher)
    ranges = make_code("int8", 384, [corpus[:100], corpus[100:]]).ranges
    assert np.array_equal(ranges, np.stack([corpus.min(axis=0), corpus.max(axis=0)]))
