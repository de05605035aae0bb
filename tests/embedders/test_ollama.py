import pytest
from fake_server import DIGEST, FakeServer

from alignkit.cache import VectorCache
from alignkit.embedders.base import embed_all
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.errors import ConfigError, EmbedderError


@pytest.fixture
def server():
    with FakeServer(models=("tiny:latest", "qwen2.5:7b", "library/x/y:q8")) as running:
        yield running


@pytest.fixture
def embedder(server):
    made = OllamaEmbedder("tiny", server.url, query_prompt="query: ", document_prompt="")
    yield made
    made.close()


def test_identity_has_all_that_changes_a_vector(embedder):
    assert embedder.identity("query") == {
        "backend": "ollama",
        "model": "tiny",
        "prompt": "query: ",
        "normalize": True,
        "dimensions": None,
        "truncate": True,
        "digest": DIGEST,
    }
    assert embedder.identity("document")["prompt"] == ""


def test_provenance_names_the_server(server, embedder):
    known = embedder.provenance()
    assert (known["server_version"], known["base_url"]) == ("0.24.0", server.url)
    assert known["date"].endswith("+00:00")


def test_prompts_go_in_front(server, embedder):
    embed_all(embedder, ["a"], "query")
    embed_all(embedder, ["a"], "document")
    assert [request for request in server.requests if request != ["alignment"]] == [["query: a"], ["a"]]


def test_the_request_is_the_documented_one_and_never_changes(server, embedder):
    embed_all(embedder, ["a"])
    embed_all(embedder, ["b"])
    assert all(body == {"model": "tiny", "input": body["input"], "truncate": True} for body in server.bodies)


def test_spaces_around_a_name_are_no_part_of_it(server):
    embedder = OllamaEmbedder(" tiny\n", server.url)
    assert len(embed_all(embedder, ["a"])) == 1
    assert {body["model"] for body in server.bodies} == {"tiny"}
    embedder.close()


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused_before_a_server_is_asked(name):
    with pytest.raises(ConfigError, match="model is empty"):
        OllamaEmbedder(name, "http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["qwen2.5:7b", "tiny", "tiny:latest", "library/x/y:q8"])
def test_names_as_ollama_reads_them(server, name):
    embedder = OllamaEmbedder(name, server.url)
    assert embedder.identity()["digest"] == DIGEST
    embedder.close()


def test_a_model_that_is_not_there(server):
    embedder = OllamaEmbedder("qwen2.5:0.5b", server.url)
    with pytest.raises(EmbedderError, match=r"no model 'qwen2.5:0.5b' \(it has: .*7b.*ollama pull qwen2.5:0.5b"):
        embedder.identity()
    with pytest.raises(EmbedderError, match="ollama pull qwen2.5:0.5b"):
        embed_all(embedder, ["a"])
    embedder.close()


def test_dimensions_are_asked_for_and_checked(server):
    embedder = OllamaEmbedder("tiny", server.url, dimensions=4)
    assert embedder.dim == 4
    assert server.bodies[0]["dimensions"] == 4
    embedder.close()


def test_without_truncation_a_long_text_is_a_failure(server):
    embedder = OllamaEmbedder("tiny", server.url, truncate=False)
    (batch,) = embedder.embed(["short", "long " * 1000])
    assert batch.indices.tolist() == [0]
    assert "exceeds the context length" in batch.failures[1]
    embedder.close()


def test_the_settings_need_no_server():
    embedder = OllamaEmbedder("tiny", "http://127.0.0.1:9")
    assert embedder.settings().items() <= {**embedder.settings(), "digest": "x"}.items()
    assert "digest" not in embedder.settings()
    embedder.close()


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "64"])
def test_dimensions_that_no_vector_has_are_refused_at_once(wrong):
    with pytest.raises(ConfigError, match=f"dimensions={wrong}: expected a whole number"):
        OllamaEmbedder("tiny", "http://127.0.0.1:9", dimensions=wrong)


def test_dimensions_that_the_model_does_not_have_are_an_error_and_nothing_is_stored(server, tmp_path):
    embedder = OllamaEmbedder("tiny", server.url, dimensions=1000)
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match=r"gives 8-d vectors, expected dimensions=1000; .*fewer than 8"):
            cache.fill(embedder, ["a", "b"])
        assert cache.identities() == []
    embedder.close()
