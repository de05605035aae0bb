import logging
import time

import pytest
from waiting import HANG_S

from alignkit import progress as module
from alignkit.progress import Counted, progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only a test lets pass."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_the_line_says_done_rate_and_time_left(clock):
    counted = Counted("teacher", "texts")
    counted.begin(10_000)
    assert counted.line() == "teacher: 0 of 10,000 texts"
    clock(60)  # the model is loaded
    counted.advance(32)
    assert counted.line() == "teacher: 32 of 10,000 texts"
    clock(10)
    counted.advance(4_968)
    assert counted.line() == "teacher: 5,000 of 10,000 texts, 497 texts/s, 10.1 s left"


def test_a_slow_rate_keeps_a_digit_and_an_unknown_total_has_no_end(clock):
    counted = Counted("build", "samples")
    counted.begin(None)
    counted.advance()
    clock(8)
    counted.advance(4)
    assert counted.line() == "build: 5 samples, 0.5 samples/s"


def test_what_was_there_before_is_no_speed(clock):
    counted = Counted("migrate", "rows")
    counted.begin(1000, done=500)
    counted.advance(10)
    clock(1)
    counted.advance(90)
    counted.note = "halfway"
    assert counted.line() == "migrate: 600 of 1,000 rows, 90 rows/s, 4.44 s left, halfway"


def test_without_a_terminal_a_line_comes_every_so_often(monkeypatch, caplog, capsys):
    monkeypatch.setattr(module, "FIRST_LINE_S", 0.02)
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.02)
    with caplog.at_level(logging.INFO), progress("teacher", "texts") as counted:
        counted.begin(50)
        deadline = time.monotonic() + HANG_S
        while len(caplog.messages) < 3 and time.monotonic() < deadline:
            counted.advance()
            time.sleep(0.01)
    assert len(caplog.messages) >= 3
    assert all(line.startswith("teacher: ") and " of 50 texts" in line for line in caplog.messages)
    assert "\x1b" not in capsys.readouterr().err


def test_a_short_job_says_nothing(caplog, capsys):
    with caplog.at_level(logging.INFO), progress("teacher", "texts") as counted:
        counted.begin(3)
        counted.advance(3)
    assert caplog.messages == []
    assert capsys.readouterr().err == ""


def test_at_a_terminal_there_is_a_bar(monkeypatch, capsys, caplog):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for: somebody looks
    with progress("teacher", "texts") as counted:
        counted.begin(50)
        counted.advance(20)
        time.sleep(0.3)
    shown = capsys.readouterr().err
    assert "20/50" in shown
    assert "teacher" in shown
    assert caplog.messages == []
