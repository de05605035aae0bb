"""Logs as they are: with times in any form, clocks that go wrong, and more rows every day."""

import json
from datetime import UTC, date, datetime

import pytest

from alignkit.errors import DataError
from alignkit.watching.live_queries import read_live

NOW = datetime(2026, 5, 10, tzinfo=UTC)


def log(folder, *rows, name="live.jsonl"):
    (folder / name).write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    "time",
    [
        "2026-05-03T10:00:00Z",
        "2026-05-03T12:00:00+02:00",
        "2026-05-03 10:00:00",
        "2026-05-03",
        1777802400,
        1777802400.5,
        1777802400000,
        "1777802400",
    ],
)
def test_times_of_every_form_name_a_day(tmp_path, time):
    queries = read_live(log(tmp_path, {"query": "where is it", "timestamp": time}), now=NOW)
    assert queries.texts == ["where is it"] and queries.day(0) == date(2026, 5, 3) and not queries.notes


@pytest.mark.parametrize("time", ["yesterday", None, True, 1e30, [], ""])
def test_times_that_cannot_be_read_are_counted(tmp_path, time):
    queries = read_live(log(tmp_path, {"text": "a", "time": time}, {"text": "b", "time": "2026-05-03"}), now=NOW)
    assert queries.day(0) is None and queries.day(1)
    assert "1 of 2 rows have no time" in queries.notes[0]


def test_a_clock_that_runs_backwards_is_told_and_each_row_keeps_its_day(tmp_path):
    times = ["2026-05-03T10:00", "2026-05-03T09:59:50", "2026-05-01T10:00", "2026-05-03T10:01", "2027-01-01"]
    queries = read_live(log(tmp_path, *({"text": f"q{n}", "time": one} for n, one in enumerate(times))), now=NOW)
    assert [queries.day(row).day for row in range(4)] == [3, 3, 1, 3]
    assert queries.notes[0].startswith("1 rows are dated more than an hour before") and "the future" in queries.notes[1]


def test_plain_texts_have_no_times_and_blank_lines_are_no_queries(tmp_path):
    (tmp_path / "live.txt").write_text("one\n\n  \ntwo\n", encoding="utf-8")
    queries = read_live(tmp_path / "live.txt")
    assert queries.texts == ["one", "two"] and queries.times == [None, None] and not queries.notes


def test_a_row_is_known_again_when_its_log_has_grown_and_the_same_text_later_is_another(tmp_path):
    first = [{"text": "a", "time": 1777802400}, {"text": "b"}]
    before = read_live(log(tmp_path, *first), now=NOW).keys
    after = read_live(log(tmp_path, *first, {"text": "a", "time": 1777802460}, {"text": "b"}), now=NOW).keys
    assert after[:2] == before and len(set(after)) == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jsonl", "", "holds no query"),
        ("blank.txt", "\n  \n", "holds no query"),
        ("other.jsonl", '{"words": "a"}\n', "no column 'text'; found: words"),
        ("odd.jsonl", '{"text": 3}\n', "must be text"),
        ("odd.pdf", "a", "expected one of"),
    ],
)
def test_files_without_queries_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_live(tmp_path / name)


def test_another_column_can_be_named(tmp_path):
    assert read_live(log(tmp_path, {"text": "a", "asked": "b"}), "asked").texts == ["b"]
