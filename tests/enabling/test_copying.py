"""From a chat model that gives no vectors to a copy that does, on a server whose files really lie in a folder."""

import json
import re
import threading
from collections import namedtuple
from pathlib import Path

import httpx
import pytest

pytest.importorskip("gguf")
from enabling.own_ollama import QWEN, OwnOllama  # noqa: E402
from gguf_files.small_model import write_model  # noqa: E402
from waiting import joined  # noqa: E402

from alignkit.enabling import weights  # noqa: E402
from alignkit.enabling.copying import Wish, enable  # noqa: E402
from alignkit.enabling.ollama_server import OllamaServer  # noqa: E402
from alignkit.errors import AlignkitError  # noqa: E402
from alignkit.gguf_files.header import read_header  # noqa: E402
from alignkit.gguf_files.pooled_copy import PooledCopy  # noqa: E402


@pytest.fixture
def ollama(tmp_path):
    with OwnOllama(tmp_path / "ollama") as running:
        running.add("qwen2.5:7b", write_model(tmp_path / "qwen.gguf", "qwen2"), **QWEN, renderer="qwen", parser="qwen")
        yield running


@pytest.fixture
def run(ollama):
    def call(*wish, **more):
        lines = []
        with OllamaServer(more.pop("base_url", ollama.url)) as server:
            call.there = enable(server, Wish(*wish, **more), lines.append)
        return lines

    return call


def test_the_copy_gives_vectors_and_keeps_all_else(run, ollama):
    before = json.dumps(ollama.card("qwen2.5:7b", ollama.models["qwen2.5:7b"]))
    lines = run("qwen2.5:7b")
    assert run.there
    assert re.search(r"it gives vectors: 16 dimensions, the first after \d", lines[-1])
    copy = ollama.models["qwen2.5:7b-embed"]
    assert read_header(copy["blob"]).values["qwen2.pooling_type"] == 3
    (body,) = [body for _, path, body in ollama.asked if path == "/api/create"]
    assert body["parameters"] == {"stop": ["<|im_start|>", "<|im_end|>"], "num_ctx": 8192, "temperature": 0.7}
    for field in ("template", "system", "license", "messages"):
        assert copy[field] == QWEN[field]
    assert (copy["renderer"], copy["parser"]) == ("qwen", "qwen")
    assert json.dumps(ollama.card("qwen2.5:7b", ollama.models["qwen2.5:7b"])) == before
    assert ollama.uploads() == [copy["blob"].stat().st_size]


def test_mean_pooling_under_a_name_of_ones_own(run, ollama):
    run("qwen2.5:7b", "me/qwen-mean:1", "mean")
    assert read_header(ollama.models["me/qwen-mean:1"]["blob"]).values["qwen2.pooling_type"] == 1


@pytest.mark.parametrize("name", ["qwen2.5:7b", "QWEN2.5:7B", "library/qwen2.5:7b"])
def test_again_says_that_it_is_there_and_sends_nothing(run, ollama, name):
    run("qwen2.5:7b")
    lines = run(name, "qwen2.5:7b-embed")
    assert run.there
    assert "is there already" in lines[0] and "it gives vectors" in lines[1]
    assert len(ollama.uploads()) == 1


def test_two_names_of_one_file_send_it_once(run, ollama, tmp_path):
    ollama.add("mine", tmp_path / "qwen.gguf")
    run("qwen2.5:7b")
    run("mine")
    assert len(ollama.uploads()) == 1
    assert ollama.models["mine-embed"]["blob"] == ollama.models["qwen2.5:7b-embed"]["blob"]


def test_a_model_that_embeds_needs_nothing(run, ollama, tmp_path):
    ollama.add("minilm", write_model(tmp_path / "minilm.gguf", "bert", pooling_type=1))
    (line,) = run("minilm")
    assert not run.there
    assert "minilm needs nothing" in line
    assert not ollama.uploads()


def test_a_server_that_embeds_chat_models_needs_nothing(run, ollama):
    ollama.refuses, ollama.version = None, "0.24.0"
    (line,) = run("qwen2.5:7b")
    assert "Ollama 0.24.0 embeds it as it is" in line
    assert "qwen2.5:7b-embed" not in ollama.models


def refused(run, *wish, **more):
    with pytest.raises(AlignkitError) as caught:
        run(*wish, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_older_server_where_a_copy_would_not_help(run, ollama, tmp_path):
    ollama.add("gemma", write_model(tmp_path / "gemma.gguf", "gemma3"))
    ollama.refuses, ollama.version = "this model does not support embeddings", "0.24.0"
    message = refused(run, "gemma")
    assert "Update Ollama to 0.30 or newer" in message and "gemma3" in message
    assert "stay on" not in message
    assert not ollama.uploads()


@pytest.mark.parametrize(
    "name", ["qwen2.5:7b", "Qwen2.5:7B", "library/qwen2.5:7b", "registry.ollama.ai/library/qwen2.5:7b"]
)
def test_the_model_itself_is_no_name_for_its_copy(run, ollama, name):
    assert "which is never changed" in refused(run, "qwen2.5:7b", name)
    assert not ollama.asked


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("qwen2.5:14b",), "ollama pull qwen2.5:14b"),
        (("qwen2.5:7b", "two words"), "not a name that Ollama accepts"),
        (("http://127.0.0.1/x",), "not a name that Ollama accepts"),
        (("qwen2.5:7b", None, "cls"), "pooling=cls: expected last or mean"),
    ],
)
def test_what_cannot_be_meant(run, ollama, wish, words):
    assert words in refused(run, *wish)
    assert not ollama.uploads()


class TestExisting:
    def test_another_model_of_that_name(self, run, ollama, tmp_path):
        ollama.add("qwen2.5:7b-embed", write_model(tmp_path / "other.gguf", "bert", pooling_type=1))
        assert "there is another model of this name; choose another name with as=NAME" in refused(run, "qwen2.5:7b")

    def test_a_chat_model_of_that_name(self, run, ollama, tmp_path):
        ollama.add("qwen2.5:7b-embed", tmp_path / "qwen.gguf")
        assert "there is another model of this name" in refused(run, "qwen2.5:7b")

    def test_with_another_pooling(self, run):
        run("qwen2.5:7b", pooling="mean")
        assert "exists with pooling=mean, but pooling=last was asked for" in refused(run, "qwen2.5:7b")

    def test_made_of_what_the_model_was_before(self, run, ollama, tmp_path):
        run("qwen2.5:7b")
        ollama.add("qwen2.5:7b", write_model(tmp_path / "newer.gguf", "qwen2", vocab_size=4))
        assert "was made from other weights than qwen2.5:7b has now" in refused(run, "qwen2.5:7b")

    def test_one_that_cannot_be_loaded(self, run, ollama):
        run("qwen2.5:7b")
        ollama.loads_copies = False
        assert "ollama rm qwen2.5:7b-embed" in refused(run, "qwen2.5:7b")
        assert "qwen2.5:7b-embed" in ollama.models


class TestFaults:
    @pytest.mark.parametrize("fault", ["loads_copies", "same_vector"])
    def test_a_copy_that_gives_no_vectors_goes_again(self, run, ollama, fault):
        setattr(ollama, fault, fault == "same_vector")
        message = refused(run, "qwen2.5:7b")
        assert "the copy was removed again" in message and "llama-server --embeddings --pooling last" in message
        assert list(ollama.models) == ["qwen2.5:7b"]

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ([{"status": "parsing GGUF"}, {"error": 'unsupported architecture "qwen2"'}], "unsupported architecture"),
            ([{"status": "parsing GGUF"}], "did not finish"),
            ([{"error": "template error", "status": 400}], "template error"),
        ],
    )
    def test_a_fault_within_a_good_answer(self, run, ollama, lines, words):
        ollama.create_lines = lines
        assert words in refused(run, "qwen2.5:7b")
        assert list(ollama.models) == ["qwen2.5:7b"]

    def test_a_damaged_file(self, run, ollama):
        blob = ollama.models["qwen2.5:7b"]["blob"]
        blob.write_bytes(blob.read_bytes()[:-1] + b"x")
        assert "is damaged" in refused(run, "qwen2.5:7b")

    def test_a_full_disk(self, run, ollama, monkeypatch):
        usage = namedtuple("usage", "total used free")(10**12, 10**12, 10**6)
        asked = []
        monkeypatch.setattr(weights.shutil, "disk_usage", lambda folder: asked.append(folder) or usage)
        assert "has 1.0 MB free, the copy takes" in refused(run, "qwen2.5:7b")
        assert asked == [ollama.blobs]
        assert not ollama.uploads()

    def test_stopped_while_it_is_sent(self, run, ollama, monkeypatch):
        def stopped(copy, advance=None):
            yield b"GGUF"
            raise KeyboardInterrupt

        monkeypatch.setattr(PooledCopy, "digests", lambda *_: (ollama.models["qwen2.5:7b"]["blob"].name[7:], "0" * 64))
        monkeypatch.setattr(PooledCopy, "chunks", stopped)
        before = threading.enumerate()
        with pytest.raises(KeyboardInterrupt):
            run("qwen2.5:7b")
        for thread in threading.enumerate():  # the server's half-read request
            if "process_request_thread" in thread.name and thread not in before:
                joined(thread)
        assert list(ollama.models) == ["qwen2.5:7b"]
        assert [path.name[:7] for path in ollama.blobs.iterdir()] == ["sha256-"]

    def test_no_server(self, run):
        assert "ollama serve" in refused(run, "qwen2.5:7b", base_url="http://127.0.0.1:9")

    def test_another_kind_of_server(self, run, ollama):
        ollama.version = ""
        transport = httpx.MockTransport(lambda request: httpx.Response(404, text="404 page not found"))
        with (
            OllamaServer(ollama.url, transport=transport) as server,
            pytest.raises(AlignkitError, match="is not an Ollama"),
        ):
            enable(server, Wish("a"), print)

    def test_a_model_in_the_cloud(self, run, ollama, tmp_path):
        ollama.add("big:cloud", tmp_path / "qwen.gguf", remote_host="https://ollama.com:443")
        assert "runs in the cloud" in refused(run, "big:cloud")


class TestTheFile:
    def test_beside_a_projector(self, run, ollama, tmp_path):
        write_projector(tmp_path / "projector.gguf")
        ollama.add("seeing", tmp_path / "qwen.gguf", projector=tmp_path / "projector.gguf")
        run("seeing")
        assert read_header(ollama.models["seeing-embed"]["blob"]).architecture == "qwen2"

    def test_with_an_adapter(self, run, ollama, tmp_path):
        ollama.add("tuned", tmp_path / "qwen.gguf", adapters=[f"/blobs/sha256-{'a' * 64}"])
        run("tuned")
        assert ollama.models["tuned-embed"]["adapters"] == {"adapter0.gguf": f"sha256:{'a' * 64}"}

    def test_that_is_not_here(self, run, ollama):
        ollama.shown_paths = lambda blob: f"/usr/share/ollama/.ollama/models/blobs/{blob.name}"
        message = refused(run, "qwen2.5:7b")
        assert "docker cp CONTAINER:/usr/share/ollama/.ollama/models/blobs/sha256-" in message
        assert f"enable_embeddings model=qwen2.5:7b base_url={ollama.url} gguf=qwen2.5-7b.gguf" in message

    def test_of_a_server_on_windows_asked_from_wsl(self, monkeypatch):
        monkeypatch.setattr(weights.os, "name", "posix")
        found = weights._here("D:\\Ollama models\\blobs\\sha256-ab")
        assert found.as_posix() == "/mnt/d/Ollama models/blobs/sha256-ab"

    def test_on_another_machine(self, run, ollama, monkeypatch):
        ollama.shown_paths = lambda blob: f"C:\\Users\\me\\.ollama\\models\\blobs\\{blob.name}"
        monkeypatch.setattr("alignkit.enabling.ollama_server.is_loopback", lambda host: False)
        message = refused(run, "qwen2.5:7b")
        assert "is another machine" in message
        assert "run there: python -m alignkit.enable_embeddings model=qwen2.5:7b (" in message
        assert "gguf=qwen2.5-7b.gguf" in message

    def test_that_may_not_be_read(self, run, ollama, monkeypatch):
        opened = Path.open

        def may_not(path, *mode):
            if path.parent == ollama.blobs and threading.current_thread() is threading.main_thread():
                raise PermissionError(13, "Permission denied")
            return opened(path, *mode)

        monkeypatch.setattr(weights, "read_header", lambda path: may_not(path))
        message = refused(run, "qwen2.5:7b")
        assert "belongs to the user that Ollama runs as" in message
        assert re.search(r"run: sudo \S+ -m alignkit.enable_embeddings model=qwen2.5:7b", message)

    def test_given_by_hand(self, run, ollama, tmp_path, caplog):
        ollama.shown_paths = lambda blob: f"/elsewhere/{blob.name}"
        run("qwen2.5:7b", gguf=tmp_path / "qwen.gguf")
        assert "qwen2.5:7b-embed" in ollama.models and not caplog.messages

    def test_given_by_hand_with_other_weights(self, run, tmp_path, caplog):
        run("qwen2.5:7b", gguf=write_model(tmp_path / "finer.gguf", "qwen2", vocab_size=4))
        assert "is not the file behind qwen2.5:7b" in caplog.text

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda path: write_model(path, "gemma3"), "holds a model of the architecture gemma3, qwen2.5:7b is qwen2"),
            (lambda path: path.write_bytes(b"<html>"), "not a GGUF file"),
            (lambda path: None, "cannot be read (No such file or directory)"),
            (lambda path: path.mkdir(), "cannot be read"),
        ],
    )
    def test_given_by_hand_and_wrong(self, run, ollama, tmp_path, make, words):
        make(tmp_path / "other.gguf")
        assert words in refused(run, "qwen2.5:7b", gguf=tmp_path / "other.gguf")
        assert not ollama.uploads()


def write_projector(path):
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_type("mmproj")
    writer.add_tensor("v.weight", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
