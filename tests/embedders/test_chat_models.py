"""Chat models behind Ollama: their copies are found where there are any, else the user is told how to make one."""

import numpy as np
import pytest

pytest.importorskip("gguf")
from enabling.own_ollama import OwnOllama  # noqa: E402
from gguf_files.small_model import write_model  # noqa: E402

from alignkit.checking.embedding import check_embedder  # noqa: E402
from alignkit.embedders.base import embed_all  # noqa: E402
from alignkit.embedders.ollama import OllamaEmbedder  # noqa: E402
from alignkit.embedders.openai import OpenAIEmbedder  # noqa: E402
from alignkit.embedders.sameness import differences  # noqa: E402
from alignkit.enabling.copying import Wish, enable  # noqa: E402
from alignkit.enabling.ollama_server import OllamaServer  # noqa: E402
from alignkit.errors import EmbedderError  # noqa: E402

COMMAND = "python -m alignkit.enable_embeddings model=qwen2.5:7b"
OLD_WORDS = "this model does not support embeddings"


@pytest.fixture
def ollama(tmp_path):
    with OwnOllama(tmp_path / "ollama") as running:
        running.add("qwen2.5:7b", write_model(tmp_path / "qwen.gguf", "qwen2"))
        running.add("gemma", write_model(tmp_path / "gemma.gguf", "gemma3"))
        yield running


@pytest.fixture
def embedder_of(ollama):
    made = []

    def make(model, kind=OllamaEmbedder, **more):
        made.append(kind(model, ollama.url + ("/v1" if kind is OpenAIEmbedder else ""), retries=0, **more))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def make_copy(ollama, *wish, **more):
    with OllamaServer(ollama.url) as server:
        enable(server, Wish(*wish, **more), lambda line: None)


def asked_models(ollama):
    return {body["model"] for _, path, body in ollama.asked if path == "/api/embed"}


class TestWithACopy:
    @pytest.mark.parametrize("name", ["qwen2.5:7b", "library/QWEN2.5:7b"])
    def test_it_gives_the_vectors_of_the_model_that_is_named(self, ollama, embedder_of, name):
        make_copy(ollama, "qwen2.5:7b")
        ollama.asked.clear()
        embedder, direct = embedder_of(name), embedder_of("qwen2.5:7b-embed")
        np.testing.assert_array_equal(embed_all(embedder, ["a", "b"]), embed_all(direct, ["a", "b"]))
        assert {model.lower().removeprefix("library/") for model in asked_models(ollama)} == {"qwen2.5:7b-embed"}
        assert embedder.identity()["weights"] == ollama.models["qwen2.5:7b-embed"]["blob"].name[7:]
        assert embedder.provenance()["copy"].lower().endswith("qwen2.5:7b-embed")
        # what the cache knows it by while the server is off
        assert embedder.settings().items() <= embedder.identity().items()

    def test_check_says_which_model_is_asked(self, ollama, embedder_of):
        make_copy(ollama, "qwen2.5:7b")
        (message,) = [
            found.message
            for found in check_embedder("teacher", embedder_of("qwen2.5:7b"))
            if found.topic == "teacher model"
        ]
        assert message.startswith("qwen2.5:7b by its copy qwen2.5:7b-embed, digest ")

    def test_it_is_told_once_however_many_embedders_ask_it(self, ollama, embedder_of, caplog):
        """`evaluate` makes one for its data and another to time."""
        make_copy(ollama, "qwen2.5:7b")
        with caplog.at_level("INFO", "alignkit.embedders.ollama"):
            for _ in range(2):
                embed_all(embedder_of("qwen2.5:7b"), ["a"])
        told = [record.getMessage() for record in caplog.records if "gives the vectors" in record.getMessage()]
        assert told == ["qwen2.5:7b: its copy qwen2.5:7b-embed gives the vectors"]

    def test_by_either_name_it_is_one_model(self, ollama, embedder_of):
        make_copy(ollama, "qwen2.5:7b")
        named, direct = embedder_of("qwen2.5:7b").identity(), embedder_of("qwen2.5:7b-embed").identity()
        assert differences(named, direct) == []

    def test_a_head_sees_that_it_is_gone(self, ollama, embedder_of):
        make_copy(ollama, "qwen2.5:7b")
        embedder = embedder_of("qwen2.5:7b")
        before = embedder.identity()
        assert embedder.current_identity() == before
        del ollama.models["qwen2.5:7b-embed"]
        assert differences(before, embedder.current_identity())

    @pytest.mark.parametrize("name", ["qwen2.5:7b", "qwen2.5:7b-embed"])
    def test_one_that_is_deleted_while_in_use_is_made_again_and_not_pulled(self, ollama, embedder_of, name):
        make_copy(ollama, "qwen2.5:7b")
        embedder = embedder_of(name)
        embed_all(embedder, ["a"])
        del ollama.models["qwen2.5:7b-embed"]
        with pytest.raises(EmbedderError, match=f"has no model 'qwen2.5:7b-embed'.*run: {COMMAND}") as error:
            embed_all(embedder, ["b"])
        assert "ollama pull" not in str(error.value)
        make_copy(ollama, "qwen2.5:7b")
        assert embed_all(embedder, ["b"]).shape == (1, 16)

    def test_one_that_is_named_and_was_never_made(self, embedder_of):
        with pytest.raises(EmbedderError, match=f"has no model 'qwen2.5:7b-embed'.*run: {COMMAND}"):
            embedder_of("qwen2.5:7b-embed").identity()
        with pytest.raises(EmbedderError, match="run: ollama pull other-embed"):
            embedder_of("other-embed").identity()

    def test_a_model_that_is_deleted_while_in_use_is_pulled_again(self, ollama, embedder_of, tmp_path):
        ollama.add("bge", write_model(tmp_path / "bge.gguf", "bert", pooling_type=1))
        embedder = embedder_of("bge")
        embed_all(embedder, ["a"])
        del ollama.models["bge"]
        with pytest.raises(EmbedderError, match="has no model 'bge'.*run: ollama pull bge"):
            embed_all(embedder, ["b"])

    def test_another_model_of_such_a_name_is_not_taken(self, ollama, embedder_of, tmp_path):
        ollama.add("qwen2.5:7b-embed", write_model(tmp_path / "other.gguf", "bert", pooling_type=1))
        with pytest.raises(EmbedderError, match=COMMAND):
            embed_all(embedder_of("qwen2.5:7b"), ["a"])

    def test_one_of_older_weights_is_not_taken(self, ollama, embedder_of, tmp_path):
        make_copy(ollama, "qwen2.5:7b")
        ollama.add("qwen2.5:7b", write_model(tmp_path / "newer.gguf", "qwen2", vocab_size=4))
        with pytest.raises(EmbedderError, match=COMMAND):
            embed_all(embedder_of("qwen2.5:7b"), ["a"])

    def test_a_model_made_for_embeddings_is_asked_itself(self, ollama, embedder_of, tmp_path):
        for name in ("bge", "bge-embed"):
            ollama.add(name, write_model(tmp_path / f"{name}.gguf", "bert", pooling_type=1))
        embed_all(embedder_of("bge"), ["a"])
        assert asked_models(ollama) == {"bge"}


class TestWithoutACopy:
    def refusal(self, embedder):
        with pytest.raises(EmbedderError) as caught:
            embed_all(embedder, ["a"])
        message = str(caught.value)
        with pytest.raises(EmbedderError) as caught:
            _ = embedder.dim
        assert str(caught.value) == message
        assert "\n" not in message
        return message

    def test_the_command_comes_first(self, ollama, embedder_of):
        message = self.refusal(embedder_of("qwen2.5:7b"))
        others = ("llama-server --embeddings --pooling last", "ollama pull qwen3-embedding:0.6b", "0.24 or older")
        places = [message.index(words) for words in (f"{COMMAND} base_url={ollama.url} ", *others)]
        assert places == sorted(places)
        assert "it makes qwen2.5:7b-embed" in message
        assert "embeds qwen2 models as they are" in message

    def test_an_older_ollama_is_no_way_out_for_what_it_refuses(self, embedder_of):
        message = self.refusal(embedder_of("gemma"))
        assert "enable_embeddings model=gemma" in message and "gemma-embed" in message
        assert "0.24" not in message

    def test_on_that_older_ollama_a_newer_one_is_the_way(self, ollama, embedder_of):
        ollama.version, ollama.refuses = "0.24.0", OLD_WORDS
        message = self.refusal(embedder_of("gemma"))
        assert "Ollama 0.24.0 gives no vectors for chat models of the architecture gemma3" in message
        assert "Update Ollama to 0.30 or newer, then run: python -m alignkit.enable_embeddings model=gemma" in message
        assert "older" not in message

    def test_a_server_built_at_home_is_known_by_its_words(self, ollama, embedder_of):
        ollama.version = "0.0.0"
        assert "Update" not in self.refusal(embedder_of("qwen2.5:7b"))

    def test_through_openais_api_the_copys_name_has_to_be_given(self, ollama, embedder_of):
        message = self.refusal(embedder_of("qwen2.5:7b", OpenAIEmbedder))
        assert f"{COMMAND} base_url={ollama.url} (" in message
        assert "then give model=qwen2.5:7b-embed" in message
        make_copy(ollama, "qwen2.5:7b")
        assert embed_all(embedder_of("qwen2.5:7b-embed", OpenAIEmbedder), ["a"]).shape == (1, 16)

    def test_embed_says_it_too(self, ollama, run_command, tmp_path):
        (tmp_path / "sentences.txt").write_text("a\nb\n", encoding="utf-8")
        settings = ["student=ollama", f"student.base_url={ollama.url}", "student.model=qwen2.5:7b"]
        code, _, err = run_command("embed", "which=student", "sentences=sentences.txt", *settings)
        assert code == 1
        assert COMMAND in " ".join(err.split())
        assert "Traceback" not in err
