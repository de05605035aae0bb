"""The README's table of speed has the benchmarks' rows, and a row without a figure says why."""

import re
from types import SimpleNamespace

import pytest
import speed_table

FIRST, SECOND = speed_table.ROWS[:2]


def report(row, outcome, longrepr="", properties=(), when="call"):
    return SimpleNamespace(
        nodeid=f"tests/bench/{row.test}", when=when, longrepr=longrepr, longreprtext=str(longrepr),
        passed=outcome == "passed", failed=outcome == "failed", skipped=outcome == "skipped",
        user_properties=list(properties),
    )  # fmt: skip


def cell_after(*reports, collected=True):
    figures = speed_table.Figures(speed_table.ROWS)
    if collected:
        figures.pytest_collection_modifyitems([SimpleNamespace(nodeid=f"tests/bench/{FIRST.test}")])
    for one in reports:
        figures.pytest_runtest_logreport(one)
    return figures.cell(FIRST)


def test_the_readme_has_every_row_and_no_other():
    page = speed_table.README.read_text(encoding="utf-8")
    table = page.partition(speed_table.MARKS[0])[2].partition(speed_table.MARKS[1])[0]
    found = [tuple(cell.strip() for cell in line.split("|")[1:-1:2]) for line in table.splitlines() if "|" in line]
    assert found[2:] == [(row.what, row.target) for row in speed_table.ROWS]
    assert re.match(r"\n.+, \d+ cores, torch \S+, \d{4}-\d\d-\d\d:\n\n", table)


def test_every_row_names_a_benchmark_that_records_its_figure():
    for row in speed_table.ROWS:
        file, _, test = row.test.partition("::")
        text = (speed_table.HERE / file).read_text(encoding="utf-8")
        assert f"def {test.partition('[')[0]}(" in text and f'"{row.figure}"' in text, row


def test_a_missed_target_fails_a_test_and_is_a_figure_all_the_same():
    assert cell_after(report(FIRST, "failed", "E  assert 0.7", [("slowest_s", 0.7)])) == "0.70 s of CPU"


def test_a_row_without_a_figure_says_why():
    assert cell_after() == cell_after(report(SECOND, "passed")) == "interrupted"
    assert cell_after(collected=False) == "no such benchmark"
    assert cell_after(report(FIRST, "skipped", ("file", 1, "Skipped: needs wrk"), when="setup")) == "needs wrk"
    said = "file.py:4: in test\n    read()\nE   OSError: no | disk\nE   more"
    assert cell_after(report(FIRST, "failed", said, when="setup")) == "failed: OSError: no / disk"
    assert cell_after(report(FIRST, "passed")) == "the benchmark passed, but did not record this"


def test_a_file_that_cannot_be_imported_says_why_in_each_of_its_rows():
    figures = speed_table.Figures(speed_table.ROWS)
    file = SimpleNamespace(test=FIRST.test.partition("::")[0])
    figures.pytest_collectreport(report(file, "failed", "E   ModuleNotFoundError: No module named 'psutil'"))
    assert figures.cell(FIRST) == figures.cell(SECOND) == "failed: ModuleNotFoundError: No module named 'psutil'"


def test_what_is_not_installed_is_said_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(speed_table, "find_spec", lambda module: None if module in ("psutil", "xdist") else module)
    monkeypatch.setattr(speed_table, "measure", None)
    with pytest.raises(SystemExit, match=r'^not installed: pytest-xdist, psutil; install with: .*"\.\[bench\]"$'):
        speed_table.main()


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text("before\n{}\nold\n{}\nafter\n".format(*speed_table.MARKS), encoding="utf-8")
    monkeypatch.setattr(speed_table, "README", path)
    return path


@pytest.mark.parametrize(("words", "known"), [((), True), ((), False), (("random",), True)])
def test_the_readme_is_written_where_all_is_measured(words, known, page, monkeypatch, capsys):
    figures = {(row.test, row.figure): 1.0 for row in speed_table.ROWS[0 if known else 1 :]}
    monkeypatch.setattr(speed_table, "measure", lambda rows: speed_table.Figures(rows, figures))
    monkeypatch.setattr(speed_table, "lacking", lambda: None)
    before = page.read_text(encoding="utf-8")
    if known:
        speed_table.main(*words)
    else:
        with pytest.raises(SystemExit, match=f"1 of {len(speed_table.ROWS)} rows have no figure"):
            speed_table.main()
    shown, after = capsys.readouterr().out, page.read_text(encoding="utf-8")
    assert shown.count("\n| ") == (2 if words else 1 + len(speed_table.ROWS))
    complete = known and not words
    assert after == (before.replace("old\n", shown) if complete else before)
