"""The clients that people have, against the running server."""

import numpy as np
import pytest
from encodings_here import CL100K
from running_server import running

from alignkit.serving.answers import Answerer
from alignkit.serving.service import Service

TEXTS = ["how do i reset my password", "book a table for two", "what is the weather"]


# what LlamaIndex and older clients ask for unless told otherwise, and what newer ones do
NAMES = ["alignkit", "text-embedding-ada-002", "text-embedding-3-small"]


@pytest.fixture(scope="module")
def url(aligned):
    with running(Service(Answerer(aligned), served_names=NAMES[1:])) as address:
        yield address


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openai(url, aligned):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        # the client asks for base64 by itself, and for float when told
        for more in ({}, {"encoding_format": "float"}):
            answer = client.embeddings.create(model="alignkit", input=TEXTS, **more)
            got = np.array([entry.embedding for entry in answer.data], dtype=np.float32)
            np.testing.assert_allclose(got, aligned.encode(TEXTS), atol=1e-6)
        assert len(client.embeddings.create(model="alignkit", input="a", dimensions=32).data[0].embedding) == 32
        assert [model.id for model in client.models.list()] == NAMES
        for name in NAMES:
            assert client.models.retrieve(f"{name}:latest").id == name
            for asked in (name, f"{name}:latest"):
                assert client.embeddings.create(model=asked, input="a").model == asked
        with pytest.raises(openai.NotFoundError) as missing:
            client.embeddings.create(model="gpt", input="a")
        assert missing.value.code == "model_not_found"
        one, blank, three = client.embeddings.create(model="alignkit", input=[TEXTS[0], "", TEXTS[2]]).data
        np.testing.assert_allclose([one.embedding, three.embedding], aligned.encode([TEXTS[0], TEXTS[2]]), atol=1e-6)
        assert len(blank.embedding) == 384


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ollama(url, aligned):
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=url)
    got = np.array(client.embed(model="alignkit", input=TEXTS).embeddings, dtype=np.float32)
    np.testing.assert_allclose(got, aligned.encode(TEXTS), atol=1e-6)
    assert len(client.embeddings(model="alignkit", prompt="a").embedding) == 384
    for listed in (client.list(), client.ps()):
        assert [model.model for model in listed.models] == [f"{name}:latest" for name in NAMES]
    for name in NAMES:
        card = client.show(name)
        assert card.capabilities == ["embedding"]
        assert len(client.embed(model=f"{name}:latest", input="a").embeddings[0]) == 384
    assert card.modelinfo["alignkit.embedding_length"] == 384
    blank = np.array(client.embed(model="alignkit:latest", input=[TEXTS[0], "", TEXTS[1]]).embeddings, dtype=np.float32)
    np.testing.assert_allclose(blank[[0, 2]], aligned.encode(TEXTS[:2]), atol=1e-6)
    with pytest.raises(ollama.ResponseError, match="does not support chat"):
        client.chat(model="alignkit", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(ollama.ResponseError, match="not found") as missing:
        client.embed(model="other", input="a")
    assert missing.value.status_code == 404


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_langchain(url, aligned):
    langchain_openai = pytest.importorskip("langchain_openai")
    client = langchain_openai.OpenAIEmbeddings(
        model="alignkit", base_url=f"{url}/v1", api_key="any", check_embedding_ctx_length=False
    )
    np.testing.assert_allclose(np.array(client.embed_documents(TEXTS)), aligned.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(np.array(client.embed_query(TEXTS[0])), aligned.encode(TEXTS)[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("model", ["alignkit", *NAMES[1:2]])
def test_langchain_by_tokens(model, url, aligned, monkeypatch):
    langchain_openai = pytest.importorskip("langchain_openai")
    if CL100K is None:
        pytest.skip("no installed package brings tiktoken's file")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(CL100K.parent))
    client = langchain_openai.OpenAIEmbeddings(model=model, base_url=f"{url}/v1", api_key="any")
    # it cuts this into tokens itself, and asks for the vector of a text without any
    texts = [*TEXTS, "你好世界 🙂", ""]
    got = np.array(client.embed_documents(texts))
    np.testing.assert_allclose(got[:4], aligned.encode(texts[:4]), atol=1e-6)
    assert got.shape == (5, 384)


def test_alignkits_own_embedders(url, aligned):
    from alignkit.embedders.base import embed_all
    from alignkit.embedders.ollama import OllamaEmbedder
    from alignkit.embedders.openai import OpenAIEmbedder

    for embedder in (OpenAIEmbedder("alignkit", f"{url}/v1"), OllamaEmbedder("alignkit", url)):
        np.testing.assert_allclose(embed_all(embedder, TEXTS), aligned.encode(TEXTS), atol=1e-6)
        embedder.close()
