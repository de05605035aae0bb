"""Texts that come as token ids: read where tiktoken and its file are there, refused with the way out where not."""

import asyncio
import functools
import shutil
import sys
import time

import numpy as np
import pytest
from encodings_here import CL100K

from alignkit.serving import token_texts
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Limits
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.service import Service
from alignkit.serving.token_texts import TokenTexts

TEXTS = ["how do i reset my password", "你好世界 🙂 héllo"]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where tiktoken looks for its files; empty, and any download fails the test."""
    pytest.importorskip("tiktoken")
    import tiktoken.load
    import tiktoken.registry

    def download(place):
        raise AssertionError(f"{place} was asked for")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.load, "read_file", download)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    return tmp_path


@functools.cache
def read_once():
    import tiktoken

    return tiktoken.get_encoding("cl100k_base")


@pytest.fixture
def encoding(folder, monkeypatch):
    import tiktoken.registry

    if CL100K is None:
        pytest.skip("no installed package brings tiktoken's file")
    shutil.copy(CL100K, folder)
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", read_once())
    return read_once()


def test_tokens_give_the_vectors_of_their_texts(encoding, service, ask, aligned):
    arrays = encoding.encode_batch(TEXTS)
    for given, texts in ((arrays, TEXTS), (arrays[0], TEXTS[:1])):
        response = ask(service, "POST", "/v1/embeddings", json={"model": "alignkit", "input": given})
        assert response.status_code == 200
        got = [entry["embedding"] for entry in response.json()["data"]]
        np.testing.assert_allclose(np.array(got, np.float32), aligned.encode(texts), atol=1e-6)
        # here the tokens need not be estimated
        assert response.json()["usage"]["prompt_tokens"] == sum(len(encoding.encode(text)) for text in texts)


def test_half_a_character_at_a_cut_is_left_out(encoding):
    tokens = encoding.encode("世界🙂")
    cut = [tokens[:-1], tokens[-1:]]
    assert asyncio.run(TokenTexts(100).of(cut, "alignkit")) == ["世界", ""]


@pytest.mark.parametrize("token", [100_300, -1, 2**40])
def test_tokens_that_do_not_exist(token, encoding, service, ask):
    response = ask(service, "POST", "/v1/embeddings", json={"input": [[1], [2, token]]})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_tokens")
    assert error["message"].startswith("input[1] holds a token that cl100k_base does not have; send texts (LangChain:")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("alignkit", "cl100k_base"),
        ("text-embedding-3-large", "cl100k_base"),
        ("text-search-ada-doc-001", "r50k_base"),
        ("gpt2", "gpt2"),
    ],
)
def test_without_the_file_the_server_says_so_and_fetches_nothing(model, name, folder, aligned, ask):
    service = Service(Answerer(aligned), model)
    for given in ([1, 2, 3], [[1, 2], [3]]):
        started = time.monotonic()
        response = ask(service, "POST", "/v1/embeddings", json={"input": given, "model": model})
        assert time.monotonic() - started < 10
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "tokens_not_supported")
        assert f"without tiktoken's file of {name} on the server (python -c" in error["message"]
        assert f"get_encoding('{name}')" in error["message"]
        assert error["message"].endswith("send texts (LangChain: check_embedding_ctx_length=False)")


def test_a_damaged_file_is_said(folder, service, ask):
    if CL100K is None:
        pytest.skip("no installed package brings tiktoken's file")
    (folder / CL100K.name).write_bytes(CL100K.read_bytes()[:1000])
    message = ask(service, "POST", "/v1/embeddings", json={"input": [1]}).json()["error"]["message"]
    assert "because tiktoken's file of cl100k_base on the server is damaged" in message


def test_without_tiktoken(service, ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    monkeypatch.setattr(token_texts.importlib.util, "find_spec", lambda name: None)
    response = ask(service, "POST", "/v1/embeddings", json={"input": [1, 2]})
    message = response.json()["error"]["message"]
    assert response.status_code == 400
    assert 'pip install "alignkit[tiktoken]"' in message and "check_embedding_ctx_length=False" in message


def test_too_many_tokens_are_refused_unread():
    with pytest.raises(RequestFault, match="input has 11 tokens; at most 10") as fault:
        asyncio.run(TokenTexts(10).of([[1] * 6, [1] * 5], "alignkit"))
    assert fault.value.status == 422


def test_the_texts_are_bounded_too(encoding, aligned, ask):
    service = Service(Answerer(aligned), limits=Limits(max_texts=2, max_characters=10))
    for given, code in (([[1]] * 3, "too_many_texts"), (encoding.encode("internationalisation"), "too_long")):
        response = ask(service, "POST", "/v1/embeddings", json={"input": given})
        assert (response.status_code, response.json()["error"]["code"]) == (422, code)


def test_ollama_takes_no_tokens_and_neither_do_we(encoding, service, ask):
    response = ask(service, "POST", "/api/embed", json={"input": [1, 2]})
    assert response.status_code == 400
    assert response.json()["error"] == "input[0] holds token ids; expected texts"
