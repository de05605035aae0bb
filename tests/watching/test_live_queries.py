"""Logs as they are: with times in any form, clocks that go wrong, and more rows every day."""

import json
from datetime import UTC, date, datetime

import pytest

from alignkit.errors import DataError
from alignkit.object_storage.located import located, write_object
from alignkit.sentences.query_logs import LoggedBy, about_name, rows_name
from alignkit.watching import live_queries
from alignkit.watching.live_queries import read_live
from alignkit.watching.live_rows import check_same_student

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
    assert "read: 1 of 2" in queries.notes[0]


def test_a_clock_that_runs_backwards_is_told_and_each_row_keeps_its_day(tmp_path):
    times = ["2026-05-03T10:00", "2026-05-03T09:59:50", "2026-05-01T10:00", "2026-05-03T10:01", "2027-01-01"]
    queries = read_live(log(tmp_path, *({"text": f"q{n}", "time": one} for n, one in enumerate(times))), now=NOW)
    assert [queries.day(row).day for row in range(4)] == [3, 3, 1, 3]
    assert "before an earlier row: 1;" in queries.notes[0] and "the future: 1;" in queries.notes[1]


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


def test_a_file_in_object_storage_is_read(tmp_path, monkeypatch):
    pytest.importorskip("upath")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    write_object(located("memory://queries/live.jsonl"), b'{"text": "a"}\n{"text": "b"}\n{"tex')
    queries = read_live("memory://queries/live.jsonl")
    assert queries.texts == ["a", "b"] and "not whole" in queries.notes[0]
    with pytest.raises(DataError, match="memory://queries/none.jsonl: there is no such file"):
        read_live("memory://queries/none.jsonl")


def test_another_column_can_be_named(tmp_path):
    assert read_live(log(tmp_path, {"text": "a", "asked": "b"}), "asked").texts == ["b"]


STUDENT = {"backend": "static", "model": "l2_supercat_256", "digest": "ab" * 32}


def served(folder, writer="0011aabb", student=STUDENT):
    """What a server leaves in a folder before its first row."""
    folder.mkdir(exist_ok=True)
    by = LoggedBy(writer, student, "cd" * 32, None, 0.01, NOW.isoformat())
    (folder / about_name(writer)).write_text(by.to_json(), encoding="utf-8")
    return folder


def rows(folder, begun, *texts, writer="0011aabb", end="\n"):
    lines = [
        json.dumps({"time": begun.isoformat(), "text": text, "path": "/search", "route": "head"}) for text in texts
    ]
    (folder / rows_name(begun, writer)).write_text("\n".join(lines) + end, encoding="utf-8")


def test_the_log_of_servers_is_read_in_order_of_time_and_is_no_clock_that_runs_backwards(tmp_path):
    folder = served(served(tmp_path / "log"), "ffffffff")
    days = [datetime(2026, 5, day, 9, tzinfo=UTC) for day in (3, 4, 5)]
    rows(folder, days[1], "c", "d")
    rows(folder, days[0], "a", "b")
    rows(folder, days[0].replace(hour=7), "early", writer="ffffffff")
    rows(folder, days[2], "e")
    (folder / "notes.txt").write_text("not a query\n")
    queries = read_live(folder, now=NOW)
    assert queries.texts == ["early", "a", "b", "c", "d", "e"] and not queries.notes
    assert [queries.day(row).day for row in range(6)] == [3, 3, 3, 4, 4, 5]
    assert {one.writer for one in queries.logged_by} == {"0011aabb", "ffffffff"}
    one = read_live(folder / rows_name(days[1], "0011aabb"), now=NOW)  # a file of it alone
    assert one.keys == queries.keys[3:5] and one.logged_by[0].student == STUDENT


def test_what_a_server_is_just_writing_and_what_a_crash_cut_off_is_left_out(tmp_path):
    folder = served(tmp_path / "log")
    rows(folder, datetime(2026, 5, 3, tzinfo=UTC), "a", "b", end='\n{"time": "2026-05-03T00:00", "te')
    rows(folder, datetime(2026, 5, 4, tzinfo=UTC), "c", end="\n\0\0\0\n\n")
    queries = read_live(folder, now=NOW)
    assert queries.texts == ["a", "b", "c"] and "cut off: 3" in queries.notes[0]


@pytest.mark.parametrize("make", [lambda folder: served(folder), lambda folder: rows(served(folder), NOW, end="")])
def test_a_log_without_rows_is_told(tmp_path, make):
    make(tmp_path / "log")
    with pytest.raises(DataError, match="holds no query.*its server has kept none yet"):
        read_live(tmp_path / "log")


def test_a_log_of_another_student_is_refused_and_one_that_tells_of_none_is_not(tmp_path):
    folder = served(tmp_path / "log")
    rows(folder, NOW, "a")
    logged_by = read_live(folder).logged_by
    check_same_student(folder, logged_by, [{**STUDENT, "prompt": "query: "}, {**STUDENT, "prompt": ""}])
    check_same_student(folder, logged_by, [])
    with pytest.raises(DataError, match="another student .*expected 'l2_supercat_256', got 'other'"):
        check_same_student(folder, logged_by, [{**STUDENT, "model": "other"}])


def test_a_folder_of_files_of_ones_own_is_read_file_by_file(tmp_path):
    log(tmp_path, {"query": "b", "time": "2026-05-04"}, name="b.jsonl")
    log(tmp_path, {"text": "a"}, name="a.jsonl")
    (tmp_path / "c.csv").write_text("query,date\nc,2026-05-01\n", encoding="utf-8")
    (tmp_path / "readme.md").write_text("words", encoding="utf-8")
    queries = read_live(tmp_path, now=NOW)
    assert queries.texts == ["a", "b", "c"] and not queries.notes and not queries.logged_by
    assert len({*queries.keys}) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file of queries"):
        read_live(tmp_path / "empty")


@pytest.mark.parametrize("end", ['{"text": "to', '{"text": "caf\udcc3', '{"te'])
def test_the_line_that_is_being_written_is_left_out_of_a_log_of_ones_own(tmp_path, end):
    path = log(tmp_path, {"text": "a"}, {"text": "b"})
    with path.open("ab") as file:
        file.write(end.encode("utf-8", "surrogateescape"))
    queries = read_live(path)
    assert queries.texts == ["a", "b"] and "cut off: 1" in queries.notes[0]
    path.write_bytes(end.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match="holds no query"):
        read_live(path)


@pytest.mark.parametrize("middle", ['{"text": "to', '{"words": "a"}', "[1]"])
def test_a_line_that_is_wrong_is_no_line_that_is_being_written(tmp_path, middle):
    path = tmp_path / "live.jsonl"
    for content in (f'{{"text": "a"}}\n{middle}\n{{"text": "b"}}', f'{{"text": "a"}}\n{middle}\n'):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="live.jsonl, line 2"):
            read_live(path)


def test_of_a_log_of_any_size_the_same_random_rows_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(live_queries, "MOST_KEPT", 100)
    folder = served(tmp_path / "log")
    rows(folder, datetime(2026, 5, 3, tzinfo=UTC), *(f"q{number}" for number in range(1_000)))
    first = read_live(folder, now=NOW)
    assert len(first) == 100 and first.notes == ("of 1,000 queries, a random sample of 100 is looked at",)
    numbers = [int(text[1:]) for text in first.texts]
    assert numbers == sorted(numbers) and 350 < sum(numbers) / 100 < 650
    rows(folder, datetime(2026, 5, 4, tzinfo=UTC), *(f"r{number}" for number in range(1_000)))
    later = read_live(folder, now=NOW)
    old = {text for text in later.texts if text.startswith("q")}
    assert len(later) == 100 and 25 < len(old) < 75 and old < {*first.texts}
