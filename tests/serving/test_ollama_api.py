"""Ollama's API and the paths for operators, in this process."""

import numpy as np
import pytest

from alignkit import __version__

TEXTS = ["how do i reset my password", "book a table for two"]


def test_embed(service, ask, aligned):
    body = ask(service, "POST", "/api/embed", json={"model": "alignkit", "input": TEXTS, "keep_alive": "5m"}).json()
    assert body["model"] == "alignkit"
    assert body["total_duration"] > 0
    np.testing.assert_allclose(np.array(body["embeddings"], np.float32), aligned.embed(TEXTS), atol=1e-6)


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_embed_of_nothing_is_an_empty_list(given, service, ask):
    response = ask(service, "POST", "/api/embed", json={"model": "alignkit:latest", **given})
    assert (response.status_code, response.json()["embeddings"]) == (200, [])


def test_embed_shortens(service, ask, aligned):
    asked = {"model": "alignkit", "input": TEXTS[0], "dimensions": 10}
    (vector,) = ask(service, "POST", "/api/embed", json=asked).json()["embeddings"]
    expected = aligned.embed(TEXTS[:1])[0, :10]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_the_older_form(service, ask, aligned):
    body = ask(service, "POST", "/api/embeddings", json={"model": "alignkit", "prompt": TEXTS[0]}).json()
    np.testing.assert_allclose(body["embedding"], aligned.embed(TEXTS[:1])[0], atol=1e-6)
    assert ask(service, "POST", "/api/embeddings", json={"model": "alignkit"}).json() == {"embedding": []}


@pytest.mark.parametrize(
    ("path", "asked", "status", "words"),
    [
        ("/api/embed", {"model": "llama3", "input": "a"}, 404, "model 'llama3' not found"),
        ("/api/embed", {"input": [1]}, 400, "token ids"),
        ("/api/embed", {"input": 1}, 400, "got a number"),
        ("/api/embed", {"input": "a", "dimensions": -1}, 400, "1 to 384"),
        ("/api/embeddings", {"prompt": ["a"]}, 400, "prompt must be a text, got a list"),
        ("/api/chat", {}, 404, "no such path"),
    ],
)
def test_errors_are_ollamas(path, asked, status, words, service, ask):
    response = ask(service, "POST", path, json=asked)
    assert response.status_code == status
    assert words in response.json()["error"]


def test_tags_and_version(service, ask, artifact):
    (card,) = ask(service, "GET", "/api/tags").json()["models"]
    assert (card["name"], card["digest"]) == ("alignkit:latest", artifact.digest())
    assert card["details"]["parameter_size"] == str(256 * 384 + 384)
    assert ask(service, "GET", "/api/version").json() == {"version": __version__}


def test_health_ready_and_metrics(service, ask):
    assert ask(service, "GET", "/health").json() == {"status": "ok"}
    assert ask(service, "GET", "/ready").status_code == 503
    ask(service, "POST", "/v1/embeddings", json={"input": TEXTS})
    ask(service, "POST", "/v1/embeddings", json={"input": 3})
    assert ask(service, "GET", "/ready").json() == {"status": "ready"}
    response = ask(service, "GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    assert 'alignkit_requests_total{route="/v1/embeddings",status="200"} 1.0' in lines
    assert 'alignkit_requests_total{route="/v1/embeddings",status="400"} 1.0' in lines
    assert "alignkit_texts_total 2.0" in lines
    assert "alignkit_batch_texts_count 1.0" in lines
    assert "alignkit_queued_texts 0.0" in lines
    assert 'alignkit_request_seconds_count{route="/v1/embeddings"} 2.0' in lines
    service.draining = True
    assert ask(service, "GET", "/ready").status_code == 503
    assert ask(service, "GET", "/health").headers["connection"] == "close"
