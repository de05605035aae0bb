import numpy as np
import pytest
from fake_server import FakeServer

from alignkit.embedders.base import embed_all
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.errors import EmbedderError


@pytest.fixture
def server():
    with FakeServer() as running:
        yield running


@pytest.fixture
def make(server):
    made = []

    def call(**settings):
        made.append(OpenAIEmbedder(**{"model": "tiny", "base_url": f"{server.url}/v1", **settings}))
        return made[-1]

    yield call
    for embedder in made:
        embedder.close()


def llama_models(**meta):
    return {"object": "list", "data": [{"id": "tiny", "aliases": ["small"], "meta": meta or None}]}


def test_llama_server_tells_which_file_it_serves(server, make):
    server.v1_models = llama_models(n_params=22565376, size=45586944, n_embd=384, n_vocab=30522, ftype="F16")
    server.extra["/props"] = {"build_info": "b11669", "total_slots": 4}
    assert make().identity()["digest"] == "gguf:n_params=22565376,size=45586944,n_embd=384,n_vocab=30522"
    assert make(model="small").identity()["digest"].startswith("gguf:")
    known = make().provenance()
    assert (known["server"], known["server_version"]) == ("llama-server", "b11669")


def test_text_embeddings_inference_tells_its_revision(server, make):
    server.extra["/info"] = {"model_id": "tiny", "model_sha": "abc123", "version": "1.8.2"}
    assert make().identity()["digest"] == "revision:abc123"
    known = make().provenance()
    assert (known["server"], known["server_version"]) == ("text-embeddings-inference", "1.8.2")


def test_vllm_tells_its_version_only(server, make):
    server.extra["/version"] = {"version": "0.14.0"}
    server.v1_models = {"data": [{"id": "tiny", "root": "tiny"}]}
    assert make().identity()["digest"] == f"server:{server.url}/v1"
    assert make().provenance()["server_version"] == "0.14.0"


def test_a_server_that_serves_another_model_under_any_name(server, make):
    server.v1_models = llama_models()
    with pytest.raises(EmbedderError, match=r"serves 'tiny', not 'bge-m3'; set model"):
        make(model="bge-m3").identity()


def test_base64_and_json_give_the_same_vectors(server, make):
    texts = ["a", "b", "c"]
    packed = embed_all(make(normalize=False), texts)
    server.base64_mode = "ignored"
    assert np.array_equal(embed_all(make(normalize=False), texts), packed)


def test_normalisation_is_recorded_and_done(server, make):
    assert make().identity()["normalize"] is True
    assert make(normalize=False).identity()["normalize"] is False
    scaled = [[3.0, 4.0], [1e25, 0.0]]

    def long_vectors(handler, texts):
        data = [{"index": index, "embedding": scaled[index % 2]} for index in range(len(texts))]
        handler.send_json(200, {"data": data})

    server.always = long_vectors
    np.testing.assert_allclose(embed_all(make(), ["a", "b"]), [[0.6, 0.8], [1, 0]], atol=1e-7)
    np.testing.assert_allclose(embed_all(make(normalize=False), ["a", "b"]), scaled)


def test_dimensions_are_left_out_unless_asked_for(server, make):
    embed_all(make(), ["a"])
    assert "dimensions" not in server.bodies[-1]


def test_a_server_that_ignores_dimensions_is_found_out(server, make):
    with pytest.raises(EmbedderError, match="8-d vectors, expected dimensions=4"):
        list(make(dimensions=4).embed(["a"]))
