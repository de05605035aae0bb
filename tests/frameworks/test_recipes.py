"""The page of recipes: what is not run in the tests of a framework."""

import importlib.util
import subprocess
import sys

import httpx
import pytest

TEXTS = ["where is my parcel", "how do i reset my password"]


@pytest.fixture(scope="module")
def served(near_head):
    """A server as the page starts it, under an address of its own."""
    pytest.importorskip("starlette")
    from running_server import running

    from alignkit.aligned import AlignedEmbedder
    from alignkit.serving.answers import Answerer
    from alignkit.serving.service import Service

    service = Service(Answerer(AlignedEmbedder.load(near_head)), served_names=["text-embedding-3-small"])
    with running(service) as address:
        yield address


def settings_of(recipe, title):
    """A block of settings: name → value."""
    (block,) = recipe(title, "ini")
    return dict(line.split("=", 1) for line in block.splitlines())


def asked(served, base_url, model, **headers):
    """A tool's request for two texts, at the address that the page gives."""
    url = base_url.replace("http://host.docker.internal:8088", served)
    answer = httpx.post(f"{url}/embeddings", json={"model": model, "input": TEXTS}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [entry["embedding"] for entry in answer.json()["data"]]


def test_qdrant(follow):
    pytest.importorskip("qdrant_client")
    follow("Qdrant")


def test_litellm(recipe, served):
    """Where it is installed, in a process of its own: its import takes five seconds, and it leaves sockets open."""
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("needs litellm")
    (code,) = recipe("LiteLLM", "python")
    code = code.replace("http://127.0.0.1:8088", served)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["1"], done.stderr


def test_open_webui(recipe, served):
    """It posts lists of texts to the base URL's /embeddings, with the key as a bearer token."""
    settings = settings_of(recipe, "Open WebUI")
    assert settings["RAG_EMBEDDING_ENGINE"] == "openai"
    key = {"Authorization": f"Bearer {settings['RAG_OPENAI_API_KEY']}"}
    first, second = asked(served, settings["RAG_OPENAI_API_BASE_URL"], settings["RAG_EMBEDDING_MODEL"], **key)
    assert len(first) == 256 and first != second


def test_dify(recipe, served):
    """Without a key it sends an empty header."""
    settings = settings_of(recipe, "Dify")
    assert settings["API Key"] == ""
    assert len(asked(served, settings["API Base URL"], settings["Model Name"], Authorization="")) == 2


def test_n8n(recipe, served):
    """Its node lists the models that have `embed` in their names, and no other."""
    settings = settings_of(recipe, "n8n")
    listed = httpx.get(settings["Base URL"].replace("http://host.docker.internal:8088", served) + "/models").json()
    assert [model["id"] for model in listed["data"] if "embed" in model["id"]] == [settings["Model"]]
    assert len(asked(served, settings["Base URL"], settings["Model"])) == 2


def test_the_proxy_of_litellm_asks_the_served_model(recipe):
    import yaml

    (block,) = recipe("LiteLLM", "yaml")
    (model,) = yaml.safe_load(block)["model_list"]
    assert model["litellm_params"] == {
        "model": "openai/alignkit", "api_base": "http://127.0.0.1:8088/v1", "api_key": "none",
    }  # fmt: skip
