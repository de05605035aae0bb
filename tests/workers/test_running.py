"""A job in parts, in this process and in a pool: what is done stays, what fails is named, the rest goes on."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys

import pytest
import waiting
from small_work import Squares, cut, tries, written

from alignkit.errors import AlignkitError, ConfigError
from alignkit.workers.local import LocalEngine
from alignkit.workers.manifest import DONE, MANIFEST, Manifest
from alignkit.workers.running import run

COMMAND = {"numbers": "all", "head_sha256": "abc"}


def manifest_in(folder, parts=8, command=COMMAND):
    return Manifest.open(folder / "parts", command, lambda: cut(parts))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_part_is_done_once_and_a_second_run_does_nothing(workers, tmp_path):
    seen = []
    outcome = run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine(workers), seen.append)
    assert written(tmp_path) == [one * one for one in range(40)]
    assert not outcome.failed
    assert outcome.done[2] == {"sum": 10 + 11 + 12 + 13 + 14}
    assert (seen[0].done, seen[-1].done, seen[-1].size) == (0, 40, 40)
    assert len(seen[-1].rates) == len(list(tmp_path.glob("opened.*"))) <= workers  # loaded once a worker
    again = run(Squares(str(tmp_path), fails=[*range(8)]), manifest_in(tmp_path), LocalEngine(workers), seen.append)
    assert again.done == outcome.done
    assert (seen[-1].done, seen[-1].earlier) == (40, 40)
    assert set(tries(tmp_path).values()) == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_that_fail_are_named_and_the_rest_is_done(workers, tmp_path, caplog):
    manifest = manifest_in(tmp_path)
    outcome = run(Squares(str(tmp_path), fails=[3], out_of_memory=[5]), manifest, LocalEngine(workers))
    assert sorted(outcome.done) == [0, 1, 2, 4, 6, 7]
    assert outcome.failed == {3: "ValueError: no number at all", 5: "the worker ran out of memory"}
    with pytest.raises(AlignkitError) as refused:
        outcome.expect_whole(manifest.parts)
    assert "2 of 8 parts failed, 6 are done; part 3 (first=15, count=5): ValueError: no number at all" in str(
        refused.value
    )
    run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine()).expect_whole(manifest.parts)
    assert written(tmp_path) == [one * one for one in range(40)]


def test_a_worker_that_is_killed_costs_its_part_alone(tmp_path):
    outcome = run(Squares(str(tmp_path), dies=[1]), manifest_in(tmp_path), LocalEngine(2))
    assert sorted(outcome.done) == [0, 2, 3, 4, 5, 6, 7]
    assert "was killed" in outcome.failed[1] or os.name == "nt"
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_cannot_load_what_they_need_end_the_job(workers, tmp_path):
    with pytest.raises(AlignkitError, match="no such model"):
        run(Squares(str(tmp_path), cannot_open="no such model"), manifest_in(tmp_path), LocalEngine(workers))
    assert not multiprocessing.active_children()


def test_nothing_but_failures_ends_the_job_early(tmp_path):
    manifest = manifest_in(tmp_path, parts=50)
    outcome = run(Squares(str(tmp_path), fails=[*range(50)]), manifest, LocalEngine())
    assert (len(outcome.failed), outcome.left) == (10, 40)
    with pytest.raises(
        AlignkitError, match="10 of 50 parts failed, 0 are done; 40 were not tried; part 0 .*; and 7 more"
    ):
        outcome.expect_whole(manifest.parts)


def test_interrupted_it_keeps_what_is_done(tmp_path):
    def interrupt(progress):
        if progress.done >= 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine(2), interrupt)
    assert not multiprocessing.active_children()
    assert len(manifest_in(tmp_path).left()) == 5
    run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine())
    assert written(tmp_path) == [one * one for one in range(40)]


def test_workers_end_with_a_command_that_is_killed(tmp_path):
    """Its workers would go on writing beside those of the next attempt."""
    code = f"""
import os, signal
from small_work import Squares, cut
from alignkit.workers.local import LocalEngine
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import run
folder = {str(tmp_path)!r}

def kill(progress):
    if progress.done:
        os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)

if __name__ == "__main__":
    run(Squares(folder), Manifest.open(folder + "/parts", {COMMAND!r}, lambda: cut(8)), LocalEngine(2), kill)
"""
    (tmp_path / "driver.py").write_text(code, encoding="utf-8")
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    # its pipe is open as long as a worker lives
    done = subprocess.run(
        [sys.executable, str(tmp_path / "driver.py")],
        capture_output=True,
        timeout=waiting.HANG_S,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode != 0
    assert 1 <= len(manifest_in(tmp_path).done) < 8
    run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine())
    assert written(tmp_path) == [one * one for one in range(40)]


def test_the_parts_of_another_command_are_refused(tmp_path):
    manifest_in(tmp_path)
    with pytest.raises(ConfigError) as refused:
        manifest_in(tmp_path, command={"numbers": "all", "head_sha256": "d" * 64})
    assert "head_sha256 is " + "d" * 59 + "… and was abc" in str(refused.value)
    (tmp_path / "parts" / MANIFEST).write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no list of parts"):
        manifest_in(tmp_path)


def test_a_job_goes_on_with_the_parts_that_it_began_with(tmp_path):
    manifest_in(tmp_path)
    found = Manifest.open(tmp_path / "parts", COMMAND, lambda: pytest.fail("cut again"))
    assert found.parts == cut(8)


def test_a_torn_line_or_a_file_that_is_gone_is_done_again(tmp_path):
    run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine())
    path = tmp_path / "parts" / DONE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:9])
    (tmp_path / "0003.txt").unlink()
    outcome = run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine())
    assert len(outcome.done) == 8
    assert {number for number, count in tries(tmp_path).items() if count == 2} == {3, 7}
    assert len(manifest_in(tmp_path).done) == 8


def test_two_commands_do_not_do_the_same_parts(tmp_path):
    with manifest_in(tmp_path).alone(), pytest.raises(ConfigError, match="another process is doing these parts"):
        run(Squares(str(tmp_path)), manifest_in(tmp_path), LocalEngine())


def test_no_secret_is_written(tmp_path):
    Manifest.open(tmp_path, {"url": "postgresql://me:secret@host/db", "api_key": "k"}, lambda: cut(1))
    assert "secret" not in (tmp_path / MANIFEST).read_text(encoding="utf-8")
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["command"]["api_key"] == "***"


def test_a_part_that_takes_far_longer_than_the_others_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("alignkit.workers.running.LATE_S", 0.0)
    engine = LocalEngine()
    engine_run = engine.run

    def slow(work, parts):
        for one in engine_run(work, parts):
            engine.underway[7] = 0.0
            yield one

    monkeypatch.setattr(engine, "run", slow)
    with caplog.at_level(logging.INFO, logger="alignkit"):
        run(Squares(str(tmp_path)), manifest_in(tmp_path), engine)
    late = [record.getMessage() for record in caplog.records if record.getMessage().startswith("part 7 takes")]
    assert len(late) == 1


@pytest.mark.parametrize("workers", [0, True, "two"])
def test_a_number_of_workers_is_one(workers):
    with pytest.raises(ConfigError, match="workers=.*: expected a whole number of at least 1"):
        LocalEngine(workers)
