"""The log of queries that a server keeps: a fair share, of every route, and never at the cost of a request."""

import errno
import json
import os
import re
import stat
import threading

import numpy as np
import pytest
from waiting import Client, get, post, until

from alignkit.errors import ConfigError
from alignkit.pairs.demo import load_demo
from alignkit.runs.training_sample import TrainingSample
from alignkit.sentences.query_logs import LoggedBy, logged_by, logged_rows, row_files
from alignkit.serving import likeness, query_log
from alignkit.serving.answers import Answer, Answerer
from alignkit.serving.likeness import Likeness
from alignkit.serving.log_folder import LogFolder
from alignkit.serving.query_log import QueryLog
from alignkit.serving.service import Service

STUDENT = {"backend": "static", "model": "l2_supercat_256", "digest": "ab" * 32}


def by(writer="0011aabb", share=1.0, student=STUDENT):
    return LoggedBy(writer, student, "cd" * 32, None, share, "2026-05-04T10:00:00+00:00")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nobody waits a second for the disk."""
    monkeypatch.setattr(query_log, "FLUSH_S", 0.01)
    monkeypatch.setattr(likeness, "EVERY_S", 0.01)


@pytest.fixture
def logging_service(aligned, tmp_path):
    def make(share=1.0, most_bytes=1_000_000, again_s=0.0, answerer=None):
        service = Service(answerer or Answerer(aligned))
        service.keep_queries(QueryLog(LogFolder(tmp_path / "log", by(share=share), most_bytes, 30), again_s=again_s))
        return service

    return make


def rows(folder):
    return [row for path in row_files(folder) for _, row in logged_rows(path)]


def figure(url, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", get(f"{url}/metrics").text, re.M)
    return float(found[1]) if found else 0.0  # nothing has been counted yet


def test_every_api_is_logged_with_time_path_route_and_confidence(logging_service, serve, tmp_path):
    with serve(logging_service()) as url:
        post(f"{url}/v1/embeddings", json={"input": ["one", "two"]})
        post(f"{url}/api/embed", json={"input": ["three", " ", "four"]})
        post(f"{url}/api/embeddings", json={"prompt": "five"})
        refused = post(f"{url}/v1/embeddings", json={"input": ["six", 6]})
    assert refused.status_code == 400
    found = rows(tmp_path / "log")
    assert [row["text"] for row in found] == ["one", "two", "three", "four", "five"]  # what was refused is no query
    assert [row["path"] for row in found] == ["/v1/embeddings"] * 2 + ["/api/embed"] * 2 + ["/api/embeddings"]
    assert {row["route"] for row in found} == {"head"} and {row["confidence"] for row in found} == {None}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", row["time"]) for row in found)
    assert logged_by(tmp_path / "log") == [by()]
    if os.name == "posix":
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "log").iterdir()}
        assert modes == {0o600} and stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


def test_the_teachers_rows_and_a_pasted_key(tmp_path):
    log = QueryLog(LogFolder(tmp_path, by(), 1_000_000, 30))
    sure = np.array([0.91, 0.12345678])
    log.take(["a", "my key is sk-proj-a1b2c3d4e5f6g7h8"], "/v1/embeddings", "head", sure, np.array([False, True]))
    log._write(log._waiting)
    first, second = rows(tmp_path)
    assert (first["route"], first["confidence"]) == ("head", 0.91)
    assert (second["route"], second["confidence"]) == ("teacher", 0.1235)
    assert "a1b2c3d4" not in second["text"] and second["text"].startswith("my key is ")


@pytest.mark.parametrize("count", [1, 7, 5_000])
def test_the_share_is_fair_however_texts_are_spread_over_requests(tmp_path, count):
    log = QueryLog(LogFolder(tmp_path, by(share=0.05), 10_000_000, 30))
    texts = [str(number) for number in range(20_000)]
    for start in range(0, len(texts), count):
        log.take(texts[start : start + count], "/", "head")
    drawn = [int(row["text"]) for row in log._waiting]
    assert abs(len(drawn) - 1_000) < 4 * (20_000 * 0.05 * 0.95) ** 0.5 and len(set(drawn)) == len(drawn)
    halves = np.histogram(drawn, bins=4, range=(0, 20_000))[0]
    assert halves.min() > 180
    # the same writer draws the same places, whatever the texts are; another process others
    again, other = (
        QueryLog(LogFolder(tmp_path, by(writer, 0.05), 10_000_000, 30)) for writer in ("0011aabb", "ff" * 4)
    )
    for one in (again, other):
        one.take(texts, "/", "head")
    assert [int(row["text"]) for row in again._waiting] == drawn != [int(row["text"]) for row in other._waiting]


def test_texts_that_the_disk_does_not_keep_up_with_are_counted_not_kept_in_memory(tmp_path):
    log = QueryLog(LogFolder(tmp_path, by(), 800_000, 30))
    for _ in range(1_000):
        log.take(["x" * 1_000], "/", "head")
    assert len(log._waiting) == 25 and log._lost == 975  # an eighth of the bound, at four bytes a character


def test_a_full_disk_stops_the_log_and_not_the_server(logging_service, serve, tmp_path, monkeypatch, caplog):
    full, real = threading.Event(), LogFolder.append

    def append(self, block):
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, block)

    monkeypatch.setattr(LogFolder, "append", append)
    with serve(logging_service()) as url, Client(base_url=url) as client:
        ask = lambda text: client.post("/v1/embeddings", json={"input": text}).status_code  # noqa: E731
        kept, lost = (f'alignkit_query_log_texts_total{{outcome="{name}"}}' for name in ("kept", "lost"))
        assert ask("before") == 200
        until(lambda: figure(url, kept) == 1)
        full.set()
        for number in range(3):
            assert ask(f"secret words {number}") == 200
            until(lambda number=number: figure(url, lost) == number + 1)
        full.clear()
        assert ask("after") == 200
        until(lambda: figure(url, kept) == 2)
    said = [record.message for record in caplog.records if "query_log" in record.message]
    assert len(said) == 2 and "No space left on device" in said[0] and "the server goes on" in said[0]
    assert "is written again" in said[1] and "secret words" not in caplog.text
    assert [row["text"] for row in rows(tmp_path / "log")] == ["before", "after"]


def test_while_it_is_stopped_nothing_is_tried_for_a_while(tmp_path):
    log = QueryLog(LogFolder(tmp_path / "log", by(), 1_000_000, 30), again_s=3600)
    log._told(OSError(errno.EDQUOT, "Disk quota exceeded"), 1, 0)
    log.take(["a"], "/", "head")
    assert log._write(log._waiting) == 0 and not (tmp_path / "log").exists()


def test_what_the_last_second_brought_is_written_at_the_end(logging_service, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(query_log, "FLUSH_S", 3600)
    with serve(logging_service()) as url:
        post(f"{url}/v1/embeddings", json={"input": "the last"})
        assert not (tmp_path / "log").exists()
    assert [row["text"] for row in rows(tmp_path / "log")] == ["the last"]


def test_several_clients_at_once_lose_nothing(logging_service, serve, tmp_path):
    def work(name, url):
        with Client(base_url=url) as client:
            for number in range(25):
                client.post("/v1/embeddings", json={"input": [f"{name}-{number}", f"{name}+{number}"]})

    with serve(logging_service()) as url:
        threads = [threading.Thread(target=work, args=(name, url)) for name in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    texts = sorted(row["text"] for row in rows(tmp_path / "log"))
    assert texts == sorted(f"{name}{mark}{number}" for name in range(4) for number in range(25) for mark in "-+")


def test_gauges_tell_texts_like_the_training_from_others(aligned, serve):
    pairs = load_demo("static")
    service = Service(Answerer(aligned, keep_student=True))
    service.compare_with(TrainingSample.of(pairs))
    with serve(service) as url:
        assert (
            np.isnan(figure(url, "alignkit_recent_unlike"))
            and "alignkit_recent_confidence" not in service.metrics.exposition()[0].decode()
        )
        for start in range(0, 320, 16):
            post(f"{url}/v1/embeddings", json={"input": list(pairs.test.texts[start : start + 16])})
            until(lambda start=start: figure(url, "alignkit_recent_compared") > start // 2)
        assert figure(url, "alignkit_recent_unlike") < 0.05
        for number in range(80):
            strange = [f"segfault in malloc at offset 0x{number}f{row} of libc" for row in range(16)]
            post(f"{url}/v1/embeddings", json={"input": strange})
            until(lambda: not service.likeness._drawn)
        until(lambda: figure(url, "alignkit_recent_compared") == likeness.WINDOW)
        assert figure(url, "alignkit_recent_unlike") > 0.5


def test_the_mean_confidence_is_that_of_the_last_texts():
    recent = Likeness(None)
    assert np.isnan(recent.confidence)
    for value, count in ((0.2, 600), (0.8, 2_048)):
        recent.take(Answer(np.empty((count, 1)), {}, np.full(count, value)))
    assert recent.confidence == pytest.approx(0.8)


def test_drawn_vectors_are_a_fair_sample_of_the_second():
    sample = TrainingSample(np.eye(4, dtype=np.float32), np.ones(4))
    first = []
    for _ in range(300):
        recent = Likeness(sample)
        for start in range(0, 64, 16):
            student = np.arange(start, start + 16, dtype=np.float32)[:, None].repeat(4, axis=1)
            recent.take(Answer(student, {}, None, student=student))
        assert len(recent._drawn) == likeness.MOST_COMPARED
        first += [int(vector[0]) for vector in recent._drawn]
    assert abs(np.mean(first) - 31.5) < 1.5


@pytest.mark.skipif(
    os.name == "nt" or getattr(os, "geteuid", lambda: 1)() == 0, reason="needs rights that can be taken"
)
def test_a_folder_without_rights_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        LogFolder(tmp_path, by(), 1_000_000, 30).check()


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "log").write_text("")
    with pytest.raises(ConfigError, match=r"query_log=.*log: cannot be written"):
        LogFolder(tmp_path / "log", by(), 1_000_000, 30).check()


def test_a_folder_of_another_student_is_refused(tmp_path):
    folder = LogFolder(tmp_path, by(), 1_000_000, 30)
    folder.append(json.dumps({"text": "a"}).encode() + b"\n")
    LogFolder(tmp_path, by("22" * 4), 1_000_000, 30).check()
    with pytest.raises(ConfigError, match="another student's server .model: expected 'l2_supercat_256', got 'other'"):
        LogFolder(tmp_path, by("33" * 4, student={**STUDENT, "model": "other"}), 1_000_000, 30).check()
