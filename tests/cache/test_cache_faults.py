from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from embed_worker import BATCH_SIZE, texts_of
from hash_embedder import HashEmbedder, hash_vector
from waiting import until

from alignkit.cache import VectorCache, identity_writer, shard_writer, shards
from alignkit.cache.index import Index
from alignkit.cache.index_file import FILE_NAME
from alignkit.errors import CacheError

WORKER = Path(__file__).with_name("embed_worker.py")
ROOT = Path(__file__).parents[2]
TEXTS = texts_of(300)


def expected(texts, dim=16):
    return np.array([hash_vector(text, dim) for text in texts])


def start_worker(folder, count, log, *settings, **process):
    command = [sys.executable, str(WORKER), str(folder), str(count), str(log), *settings]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **process}
    return subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **process)


def finish(worker):
    out, errors = worker.communicate(timeout=600)
    return worker.returncode, out, errors


def sent(log):
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def filled(folder, embedder=None, texts=TEXTS):
    embedder = embedder or HashEmbedder(dim=16)
    with VectorCache(folder) as cache:
        cache.fill(embedder, texts)
    return embedder


def assert_whole(folder, embedder, texts=TEXTS):
    """All is there and right, and a fill asks for nothing."""
    embedder.asked.clear()
    with VectorCache(folder) as cache:
        assert cache.fill(embedder, texts).tried == 0
        np.testing.assert_array_equal(cache.gather(embedder.identity(), texts), expected(texts))
    assert embedder.asked == []


def one(folder, kind):
    (path,) = (folder / "shards").glob(f"*.{kind}")
    return path


class TestKilled:
    def test_at_five_moments_nothing_stored_is_lost_or_sent_again(self, folder, tmp_path):
        count, log, moments = 3_000, tmp_path / "sent.log", random.Random(0)
        texts, identity = texts_of(count), HashEmbedder(dim=16).identity()
        there: set[int] = set()
        kills = 0
        for _ in range(5):
            # none comes to its end before it is killed, however late that is
            worker = start_worker(folder, count, log, "most=500")
            assert worker.stdout.readline() == "ready\n"
            moment = len(sent(log)) + moments.randrange(0, 400)
            until(lambda: len(sent(log)) >= moment, worker)  # noqa: B023
            time.sleep(moments.uniform(0, 0.01))
            worker.kill()
            kills += worker.wait() != 0
            worker.communicate()
            with VectorCache(folder) as cache:
                missing = set(cache.missing(identity, texts).tolist())
                now = set(range(count)) - missing
                assert there <= now
                there = now
                wanted = [texts[place] for place in sorted(now)[:: max(1, len(now) // 500)]]
                if wanted:
                    np.testing.assert_array_equal(cache.gather(identity, wanted), expected(wanted))
        assert kills == 5
        assert count / 10 < len(there) < count
        assert finish(start_worker(folder, count, log))[:2] == (0, f"ready\nnew {count - len(there)}\n")
        # only what had not come back when the process died is sent again: one batch a kill
        assert len(sent(log)) <= count + kills * BATCH_SIZE
        assert Counter(sent(log)).keys() == set(texts)
        with VectorCache(folder) as cache:
            np.testing.assert_array_equal(cache.gather(identity, texts), expected(texts))
            assert cache.verify().problems == []

    def test_rows_without_a_commit_are_taken_in_as_far_as_they_are_whole(self, folder, monkeypatch):
        embedder = HashEmbedder(dim=16)
        with VectorCache(folder) as cache:
            with monkeypatch.context() as patch:
                patch.setattr(Index, "add", lambda *_: None)
                cache.fill(embedder, TEXTS)
            assert len(cache.missing(embedder.identity(), TEXTS)) == len(TEXTS)
        with open(one(folder, "vectors"), "r+b") as file:  # as a power cut leaves it: written, not all on the disk
            file.seek(-20, os.SEEK_END)
            file.write(bytes(20))
        with VectorCache(folder) as cache:
            assert cache.missing(embedder.identity(), TEXTS).tolist() == [len(TEXTS) - 1]
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS[:-1]), expected(TEXTS[:-1]))


class TestTornShard:
    @pytest.mark.parametrize("kind", ["vectors", "keys"])
    @pytest.mark.parametrize("cut", [1, 7, 500])
    def test_whole_rows_stay_and_the_rest_is_embedded_again(self, folder, kind, cut, caplog):
        embedder = filled(folder)
        path = one(folder, kind)
        width = 32 if kind == "vectors" else shards.RECORD.itemsize
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size - cut)
        lost = -(-cut // width)
        embedder.asked.clear()
        with VectorCache(folder) as cache:
            assert f"lost its end; {lost} vectors" in caplog.text
            assert cache.fill(embedder, TEXTS).new == lost
        assert embedder.asked == TEXTS[-lost:]
        assert_whole(folder, embedder)

    def test_a_shard_that_is_gone(self, folder, caplog):
        embedder = filled(folder)
        one(folder, "json").unlink()
        with VectorCache(folder) as cache:
            assert f"is gone; its {len(TEXTS)} vectors" in caplog.text
            assert cache.fill(embedder, TEXTS).new == len(TEXTS)
        assert_whole(folder, embedder)

    def test_an_interrupt_between_a_vector_and_its_key_shifts_nothing(self, folder, monkeypatch):
        embedder = HashEmbedder(dim=16)
        write, calls = shard_writer._write_all, []

        def interrupted(file, rows):
            calls.append(file)
            if len(calls) == 4:
                raise KeyboardInterrupt
            write(file, rows)

        with VectorCache(folder) as cache:
            with monkeypatch.context() as patch:
                patch.setattr(shard_writer, "_write_all", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    cache.fill(embedder, TEXTS)
            cache.fill(embedder, TEXTS)
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))
        assert_whole(folder, embedder)


class TestIndex:
    @pytest.mark.parametrize("left", [0, 10, 100, 4096, 5000, 9000, -1])
    def test_truncated_or_deleted_it_is_made_anew_from_the_shards(self, folder, left):
        embedder = filled(folder, texts=[*TEXTS, "bad text"])
        path = folder / FILE_NAME
        if left < 0:
            path.unlink()
        else:
            with open(path, "r+b") as file:
                file.truncate(left)
        assert_whole(folder, embedder)
        with VectorCache(folder) as cache:
            assert cache.quarantined(embedder.identity(), ["bad text"]) == {0: "the model said NaN"}
            assert [model.rows for model in cache.identities()] == [len(TEXTS)]

    def test_garbage_instead_of_it(self, folder, caplog):
        embedder = filled(folder)
        (folder / FILE_NAME).write_bytes(b"no database at all" * 1000)
        with VectorCache(folder):
            assert "rebuilt from the shards" in caplog.text
        assert_whole(folder, embedder)

    def test_a_page_that_breaks_while_it_is_in_use(self, folder):
        embedder = filled(folder)
        path = folder / FILE_NAME
        pages = bytearray(path.read_bytes())
        for start in range(8192, len(pages), 4096):  # all but the schema and the list of shards
            pages[start : start + 4096] = b"\xff" * 4096
        path.write_bytes(pages)
        with pytest.raises(CacheError, match=r"damaged.*run the same command again"), VectorCache(folder) as cache:
            cache.missing(embedder.identity(), TEXTS)
        assert_whole(folder, embedder)

    def test_a_fault_that_only_verify_sees(self, folder):
        embedder = filled(folder)
        path = folder / FILE_NAME
        content = bytearray(path.read_bytes())
        cells = len(content) - 4096 + 8  # the first two cells of a leaf change places: opening does not look there
        content[cells : cells + 4] = content[cells + 2 : cells + 4] + content[cells : cells + 2]
        path.write_bytes(content)
        with VectorCache(folder) as cache:
            assert any(problem.startswith("index: ") for problem in cache.verify().problems)
        assert_whole(folder, embedder)
        with VectorCache(folder) as cache:
            assert cache.verify().problems == []

    def test_an_index_that_points_elsewhere_gives_no_wrong_vector(self, folder):
        embedder = filled(folder)
        db = sqlite3.connect(folder / FILE_NAME)
        places = [row[0] for row in db.execute("SELECT place FROM places ORDER BY prefix")]
        db.execute("UPDATE places SET place = place + 1000000")  # out of the way of the primary key
        shifted = zip(places[1:] + places[:1], places, strict=True)
        db.executemany("UPDATE places SET place = ? WHERE place = ? + 1000000", shifted)
        db.commit()
        db.close()
        with VectorCache(folder) as cache:
            assert len(cache.missing(embedder.identity(), TEXTS)) == len(TEXTS)
            assert any("the index had lost 300 rows" in problem for problem in cache.verify().problems)
        assert_whole(folder, embedder)

    def test_a_newer_format_is_not_touched(self, folder):
        filled(folder)
        db = sqlite3.connect(folder / FILE_NAME)
        db.execute("PRAGMA user_version = 99")
        db.close()
        with pytest.raises(CacheError, match="newer alignkit"):
            VectorCache(folder)
        assert (folder / FILE_NAME).is_file()


class TestFlippedByte:
    @pytest.mark.parametrize("kind", ["vectors", "keys"])
    def test_verify_names_the_row_and_the_next_fill_mends_it(self, folder, kind):
        embedder = filled(folder)
        path = one(folder, kind)
        width = 32 if kind == "vectors" else shards.RECORD.itemsize
        content = bytearray(path.read_bytes())
        content[41 * width + 3] ^= 0x10
        path.write_bytes(content)
        with VectorCache(folder) as cache:
            report = cache.verify()
            (problem,) = report.problems
            assert path.stem in problem
            assert "row 41 is damaged" in problem
            assert report.rows == len(TEXTS) - 1
            assert cache.missing(embedder.identity(), TEXTS).tolist() == [41]
            assert cache.fill(embedder, TEXTS).new == 1
            assert cache.verify().problems == []
        assert_whole(folder, embedder)

    def test_in_a_header(self, folder):
        embedder = filled(folder)
        path = one(folder, "json")
        path.write_text(path.read_text(encoding="utf-8").replace('"d1"', '"d2"'), encoding="utf-8")
        with VectorCache(folder) as cache:
            (problem,) = cache.verify().problems
            assert path.name in problem
            assert "damaged" in problem
            assert cache.verify().problems == []
        assert_whole(folder, embedder)

    def test_in_a_header_with_the_index_lost_too(self, folder, caplog):
        embedder = filled(folder)
        path = one(folder, "json")
        path.write_text(path.read_text(encoding="utf-8").replace('"d1"', '"d2"'), encoding="utf-8")
        (folder / FILE_NAME).unlink()
        with VectorCache(folder) as cache:
            assert "set aside" in caplog.text
            assert cache.fill(embedder, TEXTS).new == len(TEXTS)
            assert any(path.name in problem for problem in cache.verify().problems)
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))


class TestFullDisk:
    def test_what_was_stored_stays_and_the_same_command_goes_on(self, folder, monkeypatch):
        embedder = HashEmbedder(dim=16)
        write, calls = shard_writer._write_all, []

        def full(file, rows):
            calls.append(file)
            if len(calls) == 10:
                file.write(rows.tobytes()[:-5])
                raise OSError(errno.ENOSPC, "No space left on device")
            write(file, rows)

        monkeypatch.setattr(shard_writer, "_write_all", full)
        with VectorCache(folder) as cache:
            with pytest.raises(CacheError, match="No space left on device; what was stored before is safe"):
                cache.fill(embedder, TEXTS)
            stored = len(TEXTS) - len(cache.missing(embedder.identity(), TEXTS))
            assert stored == 4 * 16
            assert cache.fill(embedder, TEXTS).new == len(TEXTS) - stored
            assert cache.verify().problems == []
        assert_whole(folder, embedder)

    @pytest.mark.parametrize("faults", [1, 2, 1000])
    def test_rows_whose_commit_failed_are_not_embedded_again(self, folder, monkeypatch, faults):
        embedder = HashEmbedder(dim=16)
        add, calls = Index.add, []

        def refused(*arguments):
            calls.append(arguments)
            if len(calls) <= faults:
                raise CacheError("cannot use the index: disk I/O error")
            add(*arguments)

        monkeypatch.setattr(identity_writer, "COMMIT_S", 0.0)  # a commit for each batch
        with VectorCache(folder) as cache:
            with monkeypatch.context() as patch:
                patch.setattr(Index, "add", refused)
                with pytest.raises(CacheError, match="disk I/O error"):
                    cache.fill(embedder, TEXTS)
            stored = len(embedder.asked)
        with VectorCache(folder) as cache:
            assert cache.fill(embedder, TEXTS).new == len(TEXTS) - stored
            assert cache.verify().problems == []
        assert_whole(folder, embedder)

    @pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
    @pytest.mark.parametrize(("dim", "file_bytes"), [(512, 200_000), (4, 40_000)], ids=["the shard", "the index"])
    def test_files_that_cannot_grow(self, folder, tmp_path, dim, file_bytes):
        log, count = tmp_path / "sent.log", 2000
        code, out, _ = finish(
            start_worker(folder, count, log, f"dim={dim}", f"file_bytes={file_bytes}", "wait_s=0.0002")
        )
        assert code == 1
        assert "CacheError: cannot" in out
        code, out, errors = finish(start_worker(folder, count, log, f"dim={dim}", "wait_s=0"))
        assert (code, errors) == (0, errors)
        assert len(sent(log)) <= count + BATCH_SIZE
        with VectorCache(folder) as cache:
            texts = texts_of(count)
            np.testing.assert_array_equal(cache.gather(HashEmbedder(dim=dim).identity(), texts), expected(texts, dim))
            assert cache.verify().problems == []


READ_ONLY = """
import mmap, os, sys, unicodedata, numpy.ma  # what is imported late may lie where nobody else may read
sys.path[:0] = sys.argv[2:]
from embed_worker import texts_of
from hash_embedder import HashEmbedder
from alignkit.cache import VectorCache
from alignkit.errors import CacheError
if os.geteuid() == 0:  # root may write everywhere: be somebody else
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
embedder = HashEmbedder(dim=16)
with VectorCache(sys.argv[1]) as cache:
    report = cache.fill(embedder, texts_of(300))
    print(report.cached, report.new, cache.gather(embedder.identity(), texts_of(300)).shape, cache.verify().problems)
    for action in (lambda: cache.fill(embedder, texts_of(301)), lambda: cache.forget(["a"]),
                   lambda: cache.merge(sys.argv[1] + "/other"), lambda: cache.prune([embedder.identity()])):
        try:
            action()
        except CacheError as error:
            print(error)
"""


@pytest.fixture
def open_folder():
    """A folder that other users may enter; every pytest that starts closes all of pytest's to them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no read-only mode there")
class TestReadOnlyFolder:
    @pytest.mark.parametrize("index", ["whole", "damaged", "gone"])
    def test_it_is_read_and_a_missing_text_is_a_clear_error(self, open_folder, index):
        folder = open_folder / "cache"
        filled(folder)
        (folder / "other" / "shards").mkdir(parents=True)
        if index == "gone":
            (folder / FILE_NAME).unlink()
        elif index == "damaged":
            (folder / FILE_NAME).write_bytes(b"no database")
        for part in (folder, *folder.rglob("*")):
            part.chmod(0o555 if part.is_dir() else 0o444)
        try:
            run = subprocess.run(
                [sys.executable, "-B", "-c", READ_ONLY, str(folder), str(ROOT), str(WORKER.parent)],
                capture_output=True,
                text=True,
                timeout=600,
            )
        finally:
            for part in (folder, *folder.rglob("*")):
                part.chmod(0o755 if part.is_dir() else 0o644)
        assert run.returncode == 0, run.stderr
        first, *refusals = run.stdout.splitlines()
        assert first == "300 0 (300, 16) []"
        assert len(refusals) == 4
        assert refusals[0].startswith("cannot embed the 1 texts that have no vector yet: the cache in ")
        assert all("cannot be written (Permission denied)" in line for line in refusals)


def contents(folder):
    """What lies there, but for what SQLite shares between processes in memory."""
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


class TestReadingOnly:
    @pytest.mark.parametrize("index", ["there", "gone", "damaged", "of a killed process"])
    def test_everything_is_found_and_nothing_is_touched(self, folder, tmp_path, index):
        embedder = HashEmbedder(dim=16)
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            if index == "of a killed process":
                shutil.copytree(folder, tmp_path / "copy")
                folder = tmp_path / "copy"
                assert (folder / f"{FILE_NAME}-wal").stat().st_size
        if index == "gone":
            (folder / FILE_NAME).unlink()
        elif index == "damaged":
            (folder / FILE_NAME).write_bytes(b"no database")
        before = contents(folder)
        with VectorCache(folder, only_read=True) as cache:
            assert [model.rows for model in cache.identities()] == [len(TEXTS)]
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))
            assert cache.fill(embedder, TEXTS).cached == len(TEXTS)
            with pytest.raises(CacheError, match="it was opened to be read only"):
                cache.fill(embedder, ["new"])
        assert contents(folder) == before

    def test_beside_a_process_that_writes(self, folder, embedder):
        with VectorCache(folder) as writer:
            writer.fill(embedder, TEXTS[:50])
            before = contents(folder)
            with VectorCache(folder, only_read=True) as cache:
                assert len(cache.missing(embedder.identity(), TEXTS[:50])) == 0
            assert contents(folder) == before
            writer.fill(embedder, TEXTS)

    @pytest.mark.parametrize("settings", [{"only_read": True}, {"create": False}])
    def test_a_folder_of_something_else_stays_as_it_is(self, tmp_path, settings):
        (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(CacheError, match="there is no cache in"):
            VectorCache(tmp_path, **settings)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


class TestTwoProcesses:
    def test_the_same_model_the_second_waits_says_so_and_sends_nothing_twice(self, folder, tmp_path):
        log, go, said = tmp_path / "sent.log", tmp_path / "go", [tmp_path / "first.log", tmp_path / "second.log"]
        workers = []
        for path in said:
            with path.open("w", encoding="utf-8") as errors:
                workers.append(start_worker(folder, 600, log, f"go={go}", stderr=errors))

        def waiting():
            return sum("waiting for it" in path.read_text(encoding="utf-8") for path in said)

        until(waiting)
        go.touch()
        results = [finish(worker)[:2] for worker in workers]
        assert [code for code, _ in results] == [0, 0], results
        assert sorted(sent(log)) == sorted(texts_of(600))
        assert waiting() == 1
        self._sound(folder, ["d1"], 600)

    def test_two_models_at_the_same_time(self, folder, tmp_path):
        log = tmp_path / "sent.log"
        workers = [start_worker(folder, 400, log, f"digest={digest}") for digest in ("d1", "d2")]
        results = [finish(worker) for worker in workers]
        assert [out for _, out, _ in results] == ["ready\nnew 400\n"] * 2, results
        assert not any("waiting" in errors for _, _, errors in results)
        self._sound(folder, ["d1", "d2"], 400)

    def test_who_waits_goes_on_when_the_other_is_killed(self, folder, tmp_path):
        log = tmp_path / "sent.log"
        first = start_worker(folder, 400, log, "most=80")
        until(lambda: len(sent(log)) >= 80, first)
        second = start_worker(folder, 400, log, "wait_s=0")
        assert second.stdout.readline() == "ready\n"
        for line in second.stderr:
            if "waiting for it" in line:
                break
        first.kill()
        first.communicate()
        assert finish(second)[0] == 0
        assert len(sent(log)) <= 400 + BATCH_SIZE
        self._sound(folder, ["d1"], 400)

    def test_a_reader_sees_what_a_writer_commits(self, folder, embedder):
        with VectorCache(folder) as writer, VectorCache(folder) as reader:
            writer.fill(embedder, TEXTS[:10])
            assert reader.missing(embedder.identity(), TEXTS[:10]).tolist() == []
            np.testing.assert_array_equal(reader.gather(embedder.identity(), TEXTS[:10]), expected(TEXTS[:10], 8))

    @staticmethod
    def _sound(folder, digests, count):
        texts = texts_of(count)
        with VectorCache(folder) as cache:
            for digest in digests:
                identity = HashEmbedder(dim=16, digest=digest).identity()
                np.testing.assert_array_equal(cache.gather(identity, texts), expected(texts))
            assert [model.rows for model in cache.identities()] == [count] * len(digests)
            report = cache.verify()
        assert (report.rows, report.problems) == (count * len(digests), [])


def test_a_cache_can_be_copied_while_it_is_written(folder, tmp_path, embedder):
    with VectorCache(folder) as cache:
        cache.fill(embedder, TEXTS[:50])
        shutil.copytree(folder / "shards", tmp_path / "copy" / "shards")
    with VectorCache(tmp_path / "copy") as copy:
        np.testing.assert_array_equal(copy.gather(embedder.identity(), TEXTS[:50]), expected(TEXTS[:50], 8))


def test_set_aside_rows_are_told_in_the_log(folder, caplog):
    filled(folder)
    path = one(folder, "vectors")
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    (folder / FILE_NAME).unlink()
    with caplog.at_level(logging.INFO), VectorCache(folder):
        assert "1 rows set aside" in caplog.text
