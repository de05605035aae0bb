import json
import os
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from embedders.fake_server import FakeServer, status, vector_of

from alignkit import check
from alignkit.checking import machine
from alignkit.checking.embedding import SAMPLE, check_embedder
from alignkit.checking.index_findings import check_index
from alignkit.embedders.base import EmbeddedBatch, embed_all
from alignkit.embedders.ollama import OllamaEmbedder

TEXTS = [f"sentence {number} about item {number * 7}" for number in range(50)]


class TableEmbedder:
    """In process; each vector is made by a function of the batch and the place in it."""

    dim = 8

    def __init__(self, make):
        self.make = make

    def identity(self, role="document"):
        return {"backend": "table", "model": "table", "digest": "0"}

    settings = identity

    def provenance(self):
        return {"table": "1.0"}

    def embed(self, texts, role="document"):
        vectors = np.stack([self.make(texts, place) for place in range(len(texts))]).astype(np.float32)
        yield EmbeddedBatch(np.arange(len(texts)), vectors)

    def close(self):
        pass


def right(texts, place):
    return vector_of(texts[place], 8)


@pytest.fixture
def server():
    with FakeServer(models=("qwen2.5:0.5b", "qwen2.5:7b")) as running:
        yield running


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        """Exit code, findings by topic, what stderr got."""
        monkeypatch.setattr(sys, "argv", ["check", f"cache_dir={tmp_path / 'cache'}", "format=json", *arguments])
        with pytest.raises(SystemExit) as left:
            check.main()
        out, err = capsys.readouterr()
        findings = json.loads(out) if out else []
        return left.value.code or 0, {finding["topic"]: finding for finding in findings}, err

    return call


def at(server, **more):
    settings = {"student.base_url": server.url, "teacher.base_url": server.url, **more}
    return [f"{key}={value}" for key, value in settings.items()]


def test_two_working_models_on_ollama(run, server):
    code, found, _ = run(*at(server))
    assert code == 0
    assert not [finding for finding in found.values() if finding["status"] == "failure"]
    assert found["student server"]["message"] == f"ollama 0.24.0 at {server.url}"
    assert found["student model"]["message"].startswith("qwen2.5:0.5b, digest a8b0c5157701")
    assert found["teacher model"]["message"].startswith("qwen2.5:7b")
    assert "8-d, normalised" in found["teacher vectors"]["message"]
    assert "lowest cosine 1.000000" in found["teacher batches"]["message"]
    assert "texts/s" in found["teacher speed"]["message"]
    assert {"python", "torch", "gpu", "disk", "cache"} <= found.keys()


def test_the_table_has_one_line_a_finding(run, server, monkeypatch, capsys):
    _, found, _ = run(*at(server))
    monkeypatch.setattr(sys, "argv", ["check", *at(server), "cache_dir=cache"])
    with pytest.raises(SystemExit):
        check.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found)
    assert all(line.split()[0] in ("ok", "warning", "failure") for line in lines)
    monkeypatch.setattr(sys, "argv", ["check", *at(server), "cache_dir=cache", "language=zh"])
    with pytest.raises(SystemExit):
        check.main()
    chinese = capsys.readouterr().out.splitlines()
    assert len(chinese) == len(lines) and all(line.split()[0] in ("正常", "警告", "错误") for line in chinese)
    starts = {line[: line.index("学生")] for line in chinese if "学生" in line}
    assert starts == {"正常    "} and any("学生模型批量      同一文本单独与批量向量化" in line for line in chinese)


def test_a_model_that_is_not_there(run, server):
    code, found, _ = run(*at(server, **{"student.model": "nomic-embed-text"}))
    assert code == 1
    assert "ollama pull nomic-embed-text" in found["student"]["message"]
    assert found["teacher vectors"]["status"] == "ok"


def test_a_server_that_is_not_there(run, server):
    code, found, _ = run(*at(server, **{"teacher.base_url": "http://127.0.0.1:9"}))
    assert code == 1
    assert "ollama serve" in found["teacher"]["message"]


def test_a_chat_model_on_a_newer_ollama(run, server):
    server.always = status(501, "This server does not support embeddings. Start it with --embeddings")
    code, found, _ = run(*at(server))
    assert code == 1
    ways_out = ("0.24", "llama-server --embeddings --pooling last", "qwen3-embedding:0.6b")
    for side, model in (("student", "qwen2.5:0.5b"), ("teacher", "qwen2.5:7b")):
        message = found[side]["message"]
        command = f"python -m alignkit.enable_embeddings model={model} base_url={server.url} (it makes {model}-embed"
        assert 0 < message.index(command) < min(message.index(way_out) for way_out in ways_out)


def test_a_missing_extra_is_a_finding(run, server, monkeypatch):
    monkeypatch.setattr("alignkit.embedders.static.folder_of", _missing)
    code, found, _ = run(*at(server)[1:], "student=static")
    assert code == 1
    assert 'pip install "alignkit[local]"' in found["student"]["message"]


def _missing(package, extra):
    from alignkit.errors import MissingExtraError

    raise MissingExtraError(package, extra)


def test_an_unknown_format(run):
    code, _, err = run("format=xml")
    assert code == 1
    assert "expected table or json" in err


def test_the_whole_command_with_an_index(run, server, tmp_path):
    np.save(tmp_path / "vectors.npy", np.stack([vector_of(text, 8) for text in TEXTS]).astype(np.float16))
    (tmp_path / "sentences.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    code, found, _ = run(*at(server), f"index={tmp_path / 'vectors.npy'}", f"sentences={tmp_path / 'sentences.txt'}")
    assert code == 0
    assert found["index rows"]["status"] == "ok"
    assert "50 rows, 8-d float16" in found["index"]["message"]


class TestIndex:
    @pytest.fixture
    def look(self, tmp_path):
        def call(vectors, texts=TEXTS, embedder=None):
            np.save(tmp_path / "vectors.npy", vectors)
            (tmp_path / "sentences.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
            found = check_index(tmp_path / "vectors.npy", tmp_path / "sentences.txt", embedder or TableEmbedder(right))
            return list(found)[-1]

        return call

    @pytest.fixture
    def vectors(self):
        return np.stack([vector_of(text, 8) for text in TEXTS])

    def test_another_scale_is_the_same_index(self, look, vectors):
        assert look(vectors * 7).status == "ok"

    def test_another_model(self, look):
        finding = look(np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32))
        assert (finding.status, "did not make the index" in finding.fix) == ("failure", True)

    def test_rows_in_another_order(self, look, vectors):
        finding = look(np.roll(vectors, 3, axis=0))
        assert finding.status == "failure"
        assert "another order" in finding.fix and "sentence 0 is in row 3" in finding.fix

    def test_a_part_from_another_model(self, look, vectors):
        vectors[40:] = np.random.default_rng(0).standard_normal((10, 8))
        finding = look(vectors)
        assert finding.status == "failure"
        assert "rows that differ: 4" in finding.message

    def test_a_coarser_quantisation_is_a_warning(self, look, vectors):
        noise = np.random.default_rng(0).standard_normal(vectors.shape) * 0.02
        assert look((vectors + noise).astype(np.float32)).status == "warning"

    def test_another_number_of_sentences(self, look, vectors):
        finding = look(vectors, TEXTS[:-1])
        assert finding.status == "failure"
        assert "50 rows" in finding.message and "49 sentences" in finding.message

    def test_another_width(self, look, vectors):
        finding = look(np.repeat(vectors, 2, axis=1))
        assert "the index is 16-d, this teacher 8-d" in finding.message

    def test_no_such_file(self, tmp_path):
        (finding,) = check_index(tmp_path / "none.npy", None, TableEmbedder(right))
        assert (finding.status, "no such file" in finding.message) == ("failure", True)

    def test_without_sentences(self, vectors, tmp_path):
        np.save(tmp_path / "vectors.npy", vectors)
        *_, finding = check_index(tmp_path / "vectors.npy", None, TableEmbedder(right))
        assert (finding.status, "sentences=FILE" in finding.fix) == ("warning", True)


class TestVectors:
    def find(self, make, topic):
        return next(found for found in check_embedder("teacher", TableEmbedder(make)) if found.topic == topic)

    def test_vectors_that_depend_on_the_batch(self):
        def drifting(texts, place):
            return right(texts, place) + (0 if len(texts) == 1 else 1)

        finding = self.find(drifting, "teacher batches")
        assert (finding.status, "teacher.batch_size=1" in finding.fix) == ("failure", True)

    def test_vectors_that_nearly_agree(self):
        def drifting(texts, place):
            return right(texts, place) + (0 if len(texts) == 1 else 0.08 * right(["other"], 0))

        assert self.find(drifting, "teacher batches").status == "warning"

    def test_one_vector_for_every_text(self):
        finding = self.find(lambda texts, place: right(["same"], 0), "teacher vectors")
        assert (finding.status, "same vector" in finding.message) == ("failure", True)

    def test_a_model_that_refuses_plain_texts_under_load(self):
        class Failing(TableEmbedder):
            def embed(self, texts, role="document"):
                if len(texts) <= 8:
                    yield from super().embed(texts, role)
                else:
                    yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, 8), np.float32), {3: "out of memory"})

        findings = {found.topic: found for found in check_embedder("teacher", Failing(right))}
        assert findings["teacher speed"].status == "failure"
        assert "1 of 1 plain texts have no vector" in findings["teacher speed"].message
        assert "out of memory" in findings["teacher speed"].message

    def test_two_routes_are_told(self):
        class Routed(TableEmbedder):
            def identity(self, role="document"):
                return {**super().identity(role), "route": role}

            def embed(self, texts, role="document"):
                yield from super().embed(texts if role == "document" else [f"? {text}" for text in texts], role)

        findings = {found.topic: found for found in check_embedder("student", Routed(right))}
        assert "one for queries, one for documents" in findings["student routes"].message

    def test_lengths_are_told(self):
        finding = self.find(lambda texts, place: 3 * right(texts, place), "teacher vectors")
        assert "not normalised" in finding.message


class TestMachine:
    def test_a_gpu_beside_a_torch_without_cuda(self):
        finding = machine.gpu_finding([("NVIDIA GeForce RTX 3060", "581.29")], "2.13.0+cpu", None)
        assert finding.status == "warning"
        assert "RTX 3060" in finding.message and "2.13.0+cpu" in finding.message
        assert "pip install --force-reinstall torch --index-url" in finding.fix and "581.29" in finding.fix

    def test_an_old_driver(self):
        finding = machine.gpu_finding([("GTX 1080", "472.12")], "2.13.0+cu130", "13.0")
        assert (finding.status, "update the NVIDIA driver (it is 472.12)" in finding.fix) == ("warning", True)

    def test_a_hidden_gpu(self):
        assert "CUDA_VISIBLE_DEVICES" in machine.gpu_finding([("A100", "590.1")], "2.13.0+cu130", "13.0").fix

    @pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")
    @pytest.mark.parametrize(
        ("script", "expected"),
        [
            ("echo 'NVIDIA H200, 580.82.07'", [("NVIDIA H200", "580.82.07")]),
            ("echo 'NVIDIA-SMI has failed'; exit 9", []),
        ],
    )
    def test_what_the_driver_tells(self, tmp_path, monkeypatch, script, expected):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert machine.nvidia_gpus() == expected

    def test_no_driver(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert machine.nvidia_gpus() == []

    @pytest.mark.parametrize(("free", "expected"), [(5e8, "failure"), (5e9, "warning"), (5e10, "ok")])
    def test_disk(self, tmp_path, monkeypatch, free, expected):
        usage = namedtuple("usage", "total used free")(1e12, 0, free)
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
        assert machine.check_disk(tmp_path / "not" / "yet").status == expected


def test_a_drive_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr("os.path.exists", lambda path: False)
    finding = machine.check_disk(tmp_path / "no" / "drive")
    assert finding.status == "failure"
    assert "No such file or directory" in finding.message


def test_the_cache_is_listed(run, server, tmp_path):
    cache_module = pytest.importorskip("alignkit.cache")
    embedder = OllamaEmbedder("qwen2.5:7b", server.url)
    with cache_module.VectorCache(tmp_path / "cache") as cache:
        cache.fill(embedder, [*TEXTS, "<nan>"])
    embedder.close()
    code, found, _ = run(*at(server))
    assert code == 0
    assert "qwen2.5:7b: 50 vectors, 8-d" in found["cache"]["message"]
    assert "1 texts quarantined" in found["cache"]["message"]


def test_the_sample_itself_is_plain(server):
    embedder = OllamaEmbedder("qwen2.5:7b", server.url)
    assert embed_all(embedder, SAMPLE).shape == (len(SAMPLE), 8)
    embedder.close()


def test_reading_takes_no_folder(run, server, tmp_path):
    run(*at(server))
    assert not Path(tmp_path / "cache").exists()


def test_a_folder_that_is_no_cache_stays_as_it_is(run, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.tex").write_text("mine", encoding="utf-8")
    _, found, _ = run(*at(server))
    assert found["cache"]["message"].startswith("none yet at ")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["thesis.tex"]
