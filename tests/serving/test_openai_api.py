"""OpenAI's API, in this process."""

import asyncio
import base64
import json
import re
import threading

import httpx
import numpy as np
import pytest
from odd_students import OddStudent, answer_within, odd_artifact
from waiting import HANG_S

from alignkit.aligned import AlignedEmbedder
from alignkit.serving.answers import Answerer
from alignkit.serving.app import create_app
from alignkit.serving.limits import Limits
from alignkit.serving.service import Service

TEXTS = ["how do i reset my password", "book a table for two", "wie spät ist es"]


def vectors_of(response):
    return np.array([entry["embedding"] for entry in response.json()["data"]], dtype=np.float32)


def test_list_of_texts(service, ask, aligned):
    response = ask(service, "POST", "/v1/embeddings", json={"model": "alignkit", "input": TEXTS})
    assert response.status_code == 200
    body = response.json()
    assert (body["object"], body["model"]) == ("list", "alignkit")
    assert [(entry["object"], entry["index"]) for entry in body["data"]] == [("embedding", i) for i in range(3)]
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0
    np.testing.assert_allclose(vectors_of(response), aligned.encode(TEXTS), atol=1e-6)
    assert "x-alignkit-confidence" not in response.headers


def test_one_text_and_base64(service, ask, aligned):
    asked = {"model": "alignkit", "input": TEXTS[0], "encoding_format": "base64"}
    (entry,) = ask(service, "POST", "/v1/embeddings", json=asked).json()["data"]
    vector = np.frombuffer(base64.b64decode(entry["embedding"]), dtype="<f4")
    np.testing.assert_allclose(vector, aligned.encode(TEXTS[:1])[0], atol=1e-6)


def test_dimensions_shorten_and_renormalise(service, ask, aligned):
    response = ask(service, "POST", "/v1/embeddings", json={"model": "alignkit", "input": TEXTS, "dimensions": 100})
    expected = aligned.encode(TEXTS)[:, :100]
    np.testing.assert_allclose(
        vectors_of(response), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )


def test_requests_of_one_batch_get_their_own_rows(aligned):
    service = Service(Answerer(aligned))
    asked = [{"input": TEXTS[:2]}, {"input": TEXTS[2]}, {"input": TEXTS[0], "dimensions": 9}, {"input": TEXTS[1:]}]

    async def together():
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.post("/v1/embeddings", json=one) for one in asked))

    pairs, third, short, last = map(vectors_of, asyncio.run(together()))
    assert b"alignkit_batch_texts_count 1.0" in service.metrics.exposition()[0]
    expected = aligned.encode(TEXTS)
    np.testing.assert_allclose(pairs, expected[:2], atol=1e-6)
    np.testing.assert_allclose(third, expected[2:], atol=1e-6)
    np.testing.assert_allclose(last, expected[1:], atol=1e-6)
    np.testing.assert_allclose(short[0], expected[0, :9] / np.linalg.norm(expected[0, :9]), atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "status", "code", "param", "words"),
    [
        ({}, 400, None, "input", "input is missing"),
        ({"input": None}, 400, None, "input", "got null"),
        ({"input": []}, 400, None, "input", "empty list"),
        ({"input": [[1, 2], ["a"]]}, 400, "tokens_not_supported", "input", r"input\[0\] holds token ids"),
        ({"input": [1.5, 2]}, 400, None, "input", r"input\[0\] must be a text, got a number"),
        ({"input": [True, False]}, 400, None, "input", r"input\[0\] must be a text, got a boolean"),
        ({"input": [["a", "b"]]}, 400, None, "input", r"input\[0\] must be a text, got a list"),
        ({"input": [[]]}, 400, None, "input", r"input\[0\] must be a text, got a list"),
        ({"input": ["a", True]}, 400, None, "input", r"input\[1\] must be a text, got a boolean"),
        ({"input": {"text": "a"}}, 400, None, "input", "got an object"),
        ({"input": "a", "model": "gpt-9"}, 404, "model_not_found", "model", "'gpt-9' not found; this server has 'alig"),
        ({"input": "a", "model": 3}, 400, None, "model", "got a number"),
        ({"input": "a", "encoding_format": "hex"}, 400, None, "encoding_format", "float or base64, got hex"),
        ({"input": "a", "encoding_format": ["float"]}, 400, None, "encoding_format", "float or base64"),
        ({"input": "a", "dimensions": 0}, 400, None, "dimensions", "1 to 384, got 0"),
        ({"input": "a", "dimensions": 385}, 400, None, "dimensions", "1 to 384, got 385"),
        ({"input": "a", "dimensions": 1.5}, 400, None, "dimensions", "1 to 384"),
        ({"input": "a", "dimensions": True}, 400, None, "dimensions", "1 to 384"),
        ({"input": ["a"] * 2049}, 422, "too_many_texts", "input", "2049 texts; at most 2048"),
        ({"input": "a" * 2_000_001}, 422, "too_long", "input", "2000001 characters; at most"),
    ],
)
def test_wrong_requests(asked, status, code, param, words, service, ask):
    response = ask(service, "POST", "/v1/embeddings", json=asked)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert re.search(words, error["message"])


@pytest.mark.parametrize("texts", ["", " ", [""], ["a", "", "b"], [" \n", "a"], ["a", "b"] * 5 + ["\u200b"]])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_blank_text_has_a_vector_and_costs_the_others_nothing(texts, encoding, service, ask, aligned):
    response = ask(service, "POST", "/v1/embeddings", json={"input": texts, "encoding_format": encoding})
    assert response.status_code == 200
    given = [texts] if isinstance(texts, str) else texts
    rows = [entry["embedding"] for entry in response.json()["data"]]
    if encoding == "base64":
        rows = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows]
    full = [row for row, text in enumerate(given) if text.isalpha()]
    expected = np.tile(service.answerer.blank_vector, (len(given), 1))
    expected[full] = aligned.encode([given[row] for row in full])
    np.testing.assert_allclose(np.array(rows, np.float32), expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[1]", {}, 400),
        (b'"text"', {}, 400),
        (b'{"input": "\xff\xfe"}', {}, 400),
        (b'{"input": "\\ud83d"}', {}, 400),
        (b'{"input": NaN}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"a":' * 100_000, {}, 400),
        (b"{}", {"content-encoding": "gzip"}, 415),
        (b"{}", {"content-encoding": "br, gzip"}, 415),
        (b" " * (8 * 1024 * 1024 + 1), {}, 413),
    ],
)
def test_wrong_bodies(content, headers, status, service, ask):
    response = ask(service, "POST", "/v1/embeddings", content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_body_without_a_length_is_bounded_too(service, ask):
    async def endless():
        for _ in range(100):
            yield b" " * 1_000_000

    response = ask(service, "POST", "/v1/embeddings", content=endless())
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/embeddings", 405), ("POST", "/v1/chat", 404), ("POST", "/v1/embeddings/", 404)],
)
def test_other_paths_and_methods_have_the_same_envelope(method, path, status, service, ask):
    response = ask(service, method, path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_models(service, ask):
    (card,) = ask(service, "GET", "/v1/models").json()["data"]
    assert card["id"] == "alignkit"
    assert ask(service, "GET", "/v1/models/alignkit").json()["id"] == "alignkit"
    assert ask(service, "GET", "/v1/models/other").status_code == 404


def test_names_with_slashes_and_tags(aligned, ask):
    for name, tagged in (("org/name", "org/name:latest"), ("qwen2.5:7b", "qwen2.5:7b"), ("h:1/a/b", "h:1/a/b:latest")):
        service = Service(Answerer(aligned), model=name)
        assert ask(service, "GET", f"/v1/models/{name}").json()["id"] == name
        assert ask(service, "GET", "/api/tags").json()["models"][0]["name"] == tagged
        for asked in (name, tagged):
            assert ask(service, "POST", "/api/embed", json={"model": asked, "input": "a"}).status_code == 200


def test_token(aligned, ask):
    service = Service(Answerer(aligned), token="right")
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic right"},
        {"authorization": "right"},
    ):
        for path in ("/v1/models", "/api/tags", "/metrics", "/v1/embeddings"):
            response = ask(service, "POST" if "emb" in path else "GET", path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
    assert ask(service, "GET", "/v1/models", headers={"authorization": "Bearer right"}).status_code == 200
    assert ask(service, "GET", "/health").status_code == 200


def test_another_name_for_the_model(aligned, ask):
    service = Service(Answerer(aligned), model="my-teacher")
    assert ask(service, "POST", "/v1/embeddings", json={"model": "my-teacher", "input": "a"}).status_code == 200
    assert ask(service, "POST", "/v1/embeddings", json={"model": "alignkit", "input": "a"}).status_code == 404


@pytest.fixture
def odd_service():
    student = OddStudent()
    return Service(Answerer(AlignedEmbedder(odd_artifact(), student)), limits=Limits(answer_timeout_s=HANG_S))


def test_upstream_faults(odd_service, ask, caplog):
    def embed(text):
        response = ask(odd_service, "POST", "/v1/embeddings", json={"input": ["fine", text]})
        return response.status_code, response.json()["error"]

    status, error = embed("nan")
    # sent again it would fail again, so clients must not
    assert (status, error["code"]) == (422, "text_refused")
    assert "input[1]: the model gave NaN" in error["message"]
    status, error = embed("wide")
    assert status == 502
    assert "gave no vectors (vectors of another width); try again later" in error["message"]
    status, error = embed("crash with a private text")
    assert status == 500
    assert "private" not in caplog.text + json.dumps(error)
    assert "secret" not in caplog.text + json.dumps(error)
    assert "ZeroDivisionError" in caplog.text
    odd_service.answerer.aligned.student.down = True
    status, error = embed("down")
    assert (status, error["type"]) == (502, "server_error")
    # the model's own words are for whoever runs the server
    assert error["message"] == "the model behind this server gave no vectors; try again later"
    odd_service.answerer.aligned.student.down = False
    odd_service.answerer.aligned.student.gate = gate = threading.Event()
    answer_within(odd_service, 0.2)
    status, error = embed("slow")
    assert (status, error["code"]) == (504, "upstream_timeout")
    gate.set()
