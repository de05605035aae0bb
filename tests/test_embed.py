from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import HANG_S, until

from alignkit import embed
from alignkit.cache import VectorCache
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.quarantine import hex_keys, write_quarantine
from alignkit.embedders.static import StaticEmbedder

pytest.importorskip("wordllama")
ROOT = Path(__file__).parents[1]
SENTENCES = [f"please book table {number} for tonight" for number in range(60)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.txt").write_text("\n".join([*SENTENCES, SENTENCES[3], "", "  "]), encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(home, monkeypatch, capsys):
    """Run the command in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["alignkit embed", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        with pytest.raises(SystemExit) as leaving:
            embed.main()
        out, errors = capsys.readouterr()
        return leaving.value.code, out, errors

    return call


STUDENT = ("which=student", "student=static", "sentences=s.txt")


class TestEmbed:
    def test_once_and_then_nothing(self, run):
        code, out, _ = run(*STUDENT)
        assert code == 0
        assert out.startswith("student l2_supercat_256: 60 new, 0 cached, 2 quarantined; ")
        assert "texts/s, first batch (loading included) after" in out
        assert "quarantined: '  ': the text is empty or blank" in out
        code, out, _ = run(*STUDENT)
        assert code == 0
        assert out.startswith("student l2_supercat_256: nothing to do, 60 texts are cached, 2 quarantined\n")

    def test_what_is_new_in_the_file_alone(self, run, home):
        run(*STUDENT)
        with (home / "s.txt").open("a", encoding="utf-8") as file:
            file.write("\nsomething new")
        assert run(*STUDENT)[1].startswith("student l2_supercat_256: 1 new, 60 cached, 2 quarantined")

    def test_texts_that_a_broken_model_refused_are_tried_again_on_request(self, run, home):
        (home / "s.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
        run(*STUDENT, "cache_dir=sound")
        with VectorCache("sound") as sound, VectorCache("cache") as cache:  # as earlier versions left it
            identity = sound.identities()[0].identity
            keys = hex_keys(text_keys(identity_digest(identity), SENTENCES))
            write_quarantine(cache.folder, identity_digest(identity), dict.fromkeys(keys, "the vector is zero"))
        _, out, _ = run(*STUDENT)
        assert "nothing to do, 0 texts are cached, 60 quarantined" in out
        assert "retry_quarantined=true tries them again" in out
        code, out, _ = run(*STUDENT, "retry_quarantined=true")
        assert code == 0
        assert out.startswith("student l2_supercat_256: 60 new, 0 cached, 0 quarantined")
        assert "nothing to do, all 60 texts are cached" in run(*STUDENT)[1]

    def test_both_models_go_one_after_the_other(self, run):
        code, out, _ = run("student=static", "teacher=static", "teacher.normalize=false", "sentences=s.txt")
        assert code == 0
        lines = [line for line in out.splitlines() if " new, " in line]
        assert [line.split(":")[0] for line in lines] == ["teacher l2_supercat_256", "student l2_supercat_256"]
        with VectorCache("cache") as cache:
            assert [model.rows for model in cache.identities()] == [60, 60]

    @pytest.mark.parametrize("name", ["s.jsonl", "s.csv", "s.tsv"])
    def test_every_kind_of_file(self, run, home, name):
        lines = {
            "s.jsonl": [json.dumps({"text": text, "id": number}) for number, text in enumerate(SENTENCES)],
            "s.csv": ["\ufefftext", *(f'"{text}"' for text in SENTENCES)],
            "s.tsv": ["text\tlabel", *(f"{text}\ta" for text in SENTENCES)],
        }[name]
        (home / name).write_text("\r\n".join(lines), encoding="utf-8", newline="")
        run(*STUDENT)
        _, out, _ = run("which=student", "student=static", f"sentences={name}")
        assert "nothing to do, all 60 texts are cached" in out

    def test_a_broken_line_is_named_and_nothing_is_done(self, run, home):
        (home / "s.jsonl").write_text('{"text": "a"}\n{"text": \n', encoding="utf-8")
        code, out, errors = run("which=student", "student=static", "sentences=s.jsonl")
        assert (code, out) == (1, "")
        assert "s.jsonl, line 2: not JSON" in errors
        assert not (home / "cache").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("which=student", "student=static"), "sentences is not set"),
            (("which=neither", "sentences=s.txt"), "which=neither: expected one of teacher, student, both"),
            (("action=polish",), "action=polish: expected one of embed, list, verify, prune, merge, forget"),
            (("role=poem", *STUDENT), "role=poem: expected query or document"),
            (("dtype=int8", *STUDENT), "dtype=int8"),
            (("action=list",), "there is no cache in cache"),
            (("action=merge",), "other is not set"),
        ],
    )
    def test_a_wrong_setting_is_one_line(self, run, arguments, message):
        code, out, errors = run(*arguments)
        assert (code, out) == (1, "")
        assert message in errors
        assert "Traceback" not in errors

    def test_a_server_that_is_off_is_one_line(self, run):
        code, _, errors = run("which=teacher", "teacher.base_url=http://127.0.0.1:9", "sentences=s.txt")
        assert code == 1
        assert "http://127.0.0.1:9" in errors.splitlines()[-1]
        assert "Traceback" not in errors


class TestSaveTo:
    def test_rows_in_sentence_order_with_an_index(self, run, home):
        run(*STUDENT, "save_to=out/vectors")
        folder = home / "out" / "vectors"
        vectors = np.load(folder / "student.npy", allow_pickle=False)
        index = json.loads((folder / "student_index.json").read_text(encoding="utf-8"))
        assert vectors.shape == (61, 256)
        assert index["rows"] == {text: row for row, text in enumerate(SENTENCES)}
        assert "ids" not in index
        assert index["quarantined"] == dict.fromkeys(["", "  "], "the text is empty or blank")
        assert (index["dim"], index["identity"]["model"]) == (256, "l2_supercat_256")
        (batch,) = StaticEmbedder().embed(SENTENCES)
        np.testing.assert_allclose(vectors[:60], batch.vectors, atol=2e-3)
        np.testing.assert_array_equal(vectors[60], vectors[3])
        assert sorted(path.name for path in folder.iterdir()) == ["student.npy", "student_index.json"]

    def test_a_sentence_without_a_vector_shifts_no_other(self, run, home):
        (home / "s.txt").write_text("\n".join(["first", "", "third"]), encoding="utf-8")
        run(*STUDENT, "save_to=.")
        index = json.loads((home / "student_index.json").read_text(encoding="utf-8"))
        assert index["rows"] == {"first": 0, "third": 1}
        assert np.load(home / "student.npy").shape == (2, 256)

    def test_ids_stand_beside_the_sentences_where_the_file_has_any(self, run, home):
        rows = [{"id": "a7", "text": "first"}, {"text": "second"}, {"_id": 9, "text": "first"}]
        (home / "s.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        run("which=student", "student=static", "sentences=s.jsonl", "save_to=.")
        index = json.loads((home / "student_index.json").read_text(encoding="utf-8"))
        assert index["rows"] == {"first": 0, "second": 1}
        assert index["ids"] == {"a7": 0, "9": 2}

    def test_a_damaged_vector_is_not_written_into_somebodys_index(self, run, home):
        run(*STUDENT)
        (path,) = (home / "cache" / "shards").glob("*.vectors")
        content = bytearray(path.read_bytes())
        content[512 * 5] ^= 1
        path.write_bytes(content)
        code, _, errors = run(*STUDENT, "save_to=out")
        assert code == 1
        assert "1 of 61 vectors in cache are damaged, nothing was written" in errors
        assert not list((home / "out").iterdir())
        run("action=verify")  # the way that the message names
        assert run(*STUDENT, "save_to=out")[0] == 0

    def test_where_nothing_can_be_written(self, run, home):
        (home / "out").write_text("", encoding="utf-8")
        code, _, errors = run(*STUDENT, "save_to=out")
        assert code == 1
        assert "alignkit: out: could not be written (" in errors
        assert "Traceback" not in errors


class TestUpkeep:
    def test_list(self, run):
        run(*STUDENT)
        _, out, _ = run("action=list")
        assert "l2_supercat_256: 60 vectors of 256 dimensions, " in out
        assert "backend=static" in out
        assert "wordllama=" in out
        assert out.splitlines()[-1].startswith("cache: 1 models, 60 vectors, ")

    @pytest.mark.parametrize("action", ["list", "verify", "prune", "forget"])
    def test_a_folder_that_is_no_cache_stays_as_it_is(self, run, home, action):
        (home / "mine").mkdir()
        code, _, errors = run(
            f"action={action}", "cache_dir=mine", "student=static", "teacher=static", "sentences=s.txt"
        )
        assert code == 1
        assert "there is no cache in mine" in errors
        assert not list((home / "mine").iterdir())

    def test_verify(self, run, home):
        run(*STUDENT)
        assert run("action=verify")[:2] == (0, "cache: all 60 vectors are sound\n")
        (path,) = (home / "cache" / "shards").glob("*.vectors")
        content = bytearray(path.read_bytes())
        content[512 * 5] ^= 1
        path.write_bytes(content)
        code, out, errors = run("action=verify")
        assert code == 1
        assert path.stem in out
        assert "row 5 is damaged" in out
        assert "1 problems in cache, 59 vectors are sound" in errors
        assert run(*STUDENT)[1].startswith("student l2_supercat_256: 1 new, 59 cached")

    def test_prune_deletes_only_when_it_is_confirmed(self, run):
        run(*STUDENT)
        run(*STUDENT, "student.normalize=false")
        _, out, _ = run("action=prune", *STUDENT[:2])
        assert [line.split()[0] for line in out.splitlines()] == ["keep", "drop", "nothing"]
        assert "2 models, 120 vectors" in run("action=list")[1]
        _, out, _ = run("action=prune", *STUDENT[:2], "confirm=true")
        assert out.splitlines()[-1].startswith("cache: 60 vectors and ")
        _, out, _ = run("action=list")
        assert "1 models, 60 vectors" in out
        assert "normalize=True" in out

    def test_merge(self, run):
        run(*STUDENT, "cache_dir=other")
        assert run("action=merge", "other=other")[:2] == (0, "cache: 60 vectors are new\n")
        assert "nothing to do" in run(*STUDENT)[1]

    def test_forget(self, run, home):
        run(*STUDENT)
        (home / "gone.txt").write_text("\n".join(SENTENCES[:7]), encoding="utf-8")
        assert run("action=forget", "sentences=gone.txt")[1] == "cache: 7 vectors of 7 texts were overwritten\n"
        assert run(*STUDENT)[1].startswith("student l2_supercat_256: 7 new, 53 cached")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_a_signal_keeps_what_is_done_and_says_so(home):
    """SIGTERM, which is an interruption that the process ends by (`commandline/test_stopping.py`)."""
    (home / "s.txt").write_text("\n".join(f"sentence number {number}" for number in range(60_000)), encoding="utf-8")
    command = [sys.executable, "-m", "alignkit.embed", *STUDENT, "student.batch_size=8"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )
    try:
        until(lambda: any(path.stat().st_size > 5_000 for path in home.glob("cache/shards/*.keys")), process)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
    assert (process.returncode, out) == (-signal.SIGTERM, "")
    assert "texts are done and kept; the same command goes on from there" in " ".join(errors.split())
    assert errors.endswith("alignkit: interrupted\n")
    assert "Traceback" not in errors
    with VectorCache(home / "cache") as cache:
        assert 0 < cache.identities()[0].rows < 60_000
        assert cache.verify().problems == []


@pytest.mark.server
def test_on_a_real_server_the_stored_vectors_are_the_models_own(run, home):
    """all-MiniLM-L6-v2 behind llama-server, against the same model in sentence-transformers."""
    import httpx

    from alignkit.embedders.base import embed_all
    from alignkit.embedders.minilm import MinilmEmbedder

    base_url = os.environ.get("ALIGNKIT_TEST_SERVER", "http://127.0.0.1:18080/v1")
    try:
        httpx.get(f"{base_url}/models", timeout=5).raise_for_status()
    except httpx.HTTPError:
        pytest.skip(f"no server answers at {base_url}")
    (home / "s.txt").write_text("\n".join(SENTENCES[:12]), encoding="utf-8")
    teacher = ("teacher=openai", f"teacher.base_url={base_url}", "teacher.model=all-minilm-l6-v2")
    arguments = ("which=both", "student=static", "sentences=s.txt", "save_to=.", *teacher)
    code, out, _ = run(*arguments)
    assert code == 0
    assert "teacher all-minilm-l6-v2: 12 new, 0 cached, 0 quarantined" in out
    stored = np.load("teacher.npy").astype(np.float32)
    own = embed_all(MinilmEmbedder(), SENTENCES[:12])
    cosines = (stored * own).sum(axis=1) / np.linalg.norm(stored, axis=1) / np.linalg.norm(own, axis=1)
    assert cosines.min() >= 0.999
    assert run(*arguments)[1].count("nothing to do, all 12 texts are cached") == 2
