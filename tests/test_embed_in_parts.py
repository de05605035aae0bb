"""Texts embedded by several workers: the cache ends as if one process had done it, whatever stops them meanwhile."""

import json

import numpy as np
import pytest
from fake_server import FakeServer, vector_of
from small_embedder import SmallEmbedder

from alignkit.cache import KeyedTexts, VectorCache
from alignkit.cache import merging as cache_merging
from alignkit.commands.embed_actions.filling_in_parts import FOLDER, InParts
from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import AlignkitError, CacheError, EmbedderError
from alignkit.workers.local import LocalEngine

TEXTS = [f"table {number}" for number in range(700)]
SMALL = {"_target_": "small_embedder.SmallEmbedder"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def fill(folder, embedder=None, texts=TEXTS, settings=SMALL, **more):
    seen = []
    with VectorCache(folder) as cache:
        parts = InParts(cache, "float16", "student", settings, LocalEngine())
        told = [lambda now, known: seen.append((now.done, now.size, known))]
        report = parts.fill(embedder or SmallEmbedder(), KeyedTexts(texts), "document", *told, **more)
    return report, seen


def stored(folder, texts=TEXTS):
    with VectorCache(folder, only_read=True) as cache:
        return cache.gather(SmallEmbedder().identity(), texts)


def test_processes_ask_a_server_no_more_at_once_than_one_would(tmp_path, run_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY_OF_MINE", "sk-proj-a1b2c3d4e5f6a7b8")
    (tmp_path / "s.txt").write_text("\n".join([*TEXTS, TEXTS[3], "  "]), encoding="utf-8")
    with FakeServer() as server:
        server.latency_s, server.needs_key = 0.01, "sk-proj-a1b2c3d4e5f6a7b8"
        words = ["embed", "which=student", "student=openai", "student.model=tiny", f"student.base_url={server.url}/v1"]
        words += ["student.concurrency=2", "student.batch_size=16", "student.api_key_env=KEY_OF_MINE"]
        code, out, errors = run_command(*words, "sentences=s.txt", "engine.workers=5")
        assert (code, "student tiny: 700 new, 0 cached, 1 quarantined" in out) == (0, True), errors
        assert "2 of 5 workers embed: student.concurrency=2 bounds the requests" in errors
        assert server.most_in_flight <= 2  # one where the second process starts late
        sent = server.times_sent()
        again = [text for text in TEXTS if sent[text] != 1]
        assert len(again) <= 3, "but for one text of each part, by which the server is watched, each is sent once"
        code, out, _ = run_command(*words, "sentences=s.txt", "engine.workers=2")
        assert "nothing to do, 700 texts are cached, 1 quarantined" in out
    with VectorCache("cache", only_read=True) as cache:
        (model,) = cache.identities()
        expected = np.array([vector_of(text, 8) for text in TEXTS])
        np.testing.assert_allclose(cache.gather(model.identity, TEXTS), expected, atol=1e-3)
    assert not (tmp_path / "cache" / FOLDER).exists(), "no text stays on the disk"


@pytest.mark.parametrize("workers", ["0", "many"])
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_wrong_number_of_workers_is_one_line(engine, workers, tmp_path, run_command):
    (tmp_path / "s.txt").write_text("one", encoding="utf-8")
    words = ["which=student", "student=openai", "student.model=m", f"sentences={tmp_path / 's.txt'}"]
    words += [f"cache_dir={tmp_path / 'cache'}", f"engine={engine}", f"engine.workers={workers}"]
    code, out, errors = run_command("embed", *words)
    assert (code, out, errors.count("\n")) == (1, "", 1) and f"engine.workers={workers}: expected a" in errors


def test_it_ends_as_if_one_process_had_done_it(folder):
    report, seen = fill(folder, texts=[*TEXTS, TEXTS[0], ""])
    assert (report.new, report.cached, list(report.quarantined)) == (700, 0, [""])
    assert (seen[0], seen[-1]) == ((0, 701, 0), (701, 701, 0))
    with VectorCache(folder.with_name("other")) as alone:
        alone.fill(SmallEmbedder(), TEXTS)
    np.testing.assert_array_equal(stored(folder), stored(folder.with_name("other")))
    again, seen = fill(folder, texts=[*TEXTS, "one more"])
    assert (again.new, again.cached, seen) == (1, 700, [])
    assert not (folder / FOLDER).exists()


def stopping(monkeypatch, at, error):
    """The model gives its answer in two halves, and stops between those of the texts with this one among them."""
    whole = SmallEmbedder.embed

    def embed(self, texts, role="document"):
        half = len(texts) // 2
        yield from whole(self, texts[:half], role)
        if at in texts:
            raise error
        for batch in whole(self, texts[half:], role):
            yield EmbeddedBatch(batch.indices + half, batch.vectors, batch.failures)

    monkeypatch.setattr(SmallEmbedder, "embed", embed)


@pytest.mark.parametrize("error", [EmbedderError("the server is gone"), KeyboardInterrupt()])
def test_what_is_done_is_kept_and_the_rest_is_done_next_time(folder, monkeypatch, error):
    with monkeypatch.context() as patched:
        stopping(patched, TEXTS[300], error)
        with pytest.raises((AlignkitError, KeyboardInterrupt)) as stopped:
            fill(folder)
    if isinstance(error, EmbedderError):
        assert "1 of 3 parts failed, 2 are done; part 1 (texts=256 to 511): the server is gone" in str(stopped.value)
    assert not (folder / FOLDER).exists()
    embedded = 572 if isinstance(error, EmbedderError) else 384
    report, _ = fill(folder)
    assert (report.cached, report.new) == (embedded, 700 - embedded)
    assert np.isfinite(stored(folder)).all()


def test_what_a_killed_command_left_is_taken_in(folder):
    with VectorCache(folder / FOLDER / "000007") as left:
        left.fill(SmallEmbedder(), TEXTS[:100])
    (folder / FOLDER / "manifest.json").write_text(json.dumps({"command": {"command": "embed"}, "parts": []}))
    report, _ = fill(folder)
    assert (report.cached, report.new) == (100, 600)
    assert not (folder / FOLDER).exists()


def test_what_cannot_be_taken_in_waits_for_the_next_command(folder, monkeypatch):
    def full(*_):
        raise CacheError("cannot copy: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(cache_merging, "_copy", full)
        with pytest.raises(CacheError, match="No space left"):
            fill(folder)
    asked = SmallEmbedder()
    report, _ = fill(folder, asked)
    assert report.cached >= 256 and report.cached + report.new == 700
    assert not (folder / FOLDER).exists()


def test_workers_with_another_model_are_refused(folder):
    with pytest.raises(EmbedderError, match=r"another one than the command's \(model: expected 'small', got 'other'\)"):
        try:
            fill(folder, settings={**SMALL, "model": "other"})
        except AlignkitError as error:
            raise EmbedderError(str(error)) from None
    with VectorCache(folder, only_read=True) as cache:
        assert not cache.identities()


def test_a_model_that_changed_is_refused_before_any_worker_begins(folder, monkeypatch):
    fill(folder, texts=TEXTS[:50])
    monkeypatch.setattr(SmallEmbedder, "session", property(lambda self: None), raising=False)
    monkeypatch.setattr(SmallEmbedder, "dim", 9, raising=False)
    with pytest.raises(EmbedderError, match="9"):
        fill(folder, SmallEmbedder(dim=9), settings={**SMALL, "dim": 9})


def test_one_command_at_a_time(folder):
    with VectorCache(folder) as cache, cache.store.lock(FOLDER):
        with pytest.raises(CacheError, match="another command is embedding in parts into"):
            fill(folder)
