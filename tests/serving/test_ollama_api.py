"""Ollama's API and the paths for operators, in this process."""

import datetime

import numpy as np
import pytest
from odd_students import OddStudent, odd_artifact

from alignkit import __version__
from alignkit.aligned import AlignedEmbedder
from alignkit.errors import ConfigError
from alignkit.serving.answers import Answerer
from alignkit.serving.service import Service

TEXTS = ["how do i reset my password", "book a table for two"]


def test_embed(service, ask, aligned):
    body = ask(service, "POST", "/api/embed", json={"model": "alignkit", "input": TEXTS, "keep_alive": "5m"}).json()
    assert body["model"] == "alignkit"
    assert body["total_duration"] > 0
    np.testing.assert_allclose(np.array(body["embeddings"], np.float32), aligned.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_embed_of_nothing_is_an_empty_list(given, service, ask):
    response = ask(service, "POST", "/api/embed", json={"model": "alignkit:latest", **given})
    assert (response.status_code, response.json()["embeddings"]) == (200, [])


def test_embed_shortens(service, ask, aligned):
    asked = {"model": "alignkit", "input": TEXTS[0], "dimensions": 10}
    (vector,) = ask(service, "POST", "/api/embed", json=asked).json()["embeddings"]
    expected = aligned.encode(TEXTS[:1])[0, :10]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_the_older_form(service, ask, aligned):
    body = ask(service, "POST", "/api/embeddings", json={"model": "alignkit", "prompt": TEXTS[0]}).json()
    np.testing.assert_allclose(body["embedding"], aligned.encode(TEXTS[:1])[0], atol=1e-6)
    assert ask(service, "POST", "/api/embeddings", json={"model": "alignkit"}).json() == {"embedding": []}


@pytest.mark.parametrize(
    ("path", "asked", "status", "words"),
    [
        ("/api/embed", {"model": "llama3", "input": "a"}, 404, 'model "llama3" not found, try pulling it first'),
        (
            "/api/embed",
            {"model": "alignkit:v2", "input": []},
            404,
            'model "alignkit:v2" not found, try pulling it first',
        ),
        ("/api/embed", {"model": "", "input": "a"}, 404, "model '' not found"),
        ("/api/embeddings", {"model": "llama3", "prompt": "a"}, 404, 'model "llama3" not found, try pulling it first'),
        ("/api/embed", {"model": 5, "input": "a"}, 400, "model must be a name, got a number"),
        ("/api/embed", {"model": "a\nb" * 200, "input": "a"}, 404, 'model "a?ba?b'),
        ("/api/show", {"model": "llama3"}, 404, "model 'llama3:latest' not found"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": ["alignkit"]}, 400, "model must be a name, got a list"),
        ("/api/embed", {"input": ["a", None]}, 400, "input[1] must be a text, got null"),
        ("/api/embed", {"input": [1]}, 400, "token ids"),
        ("/api/embed", {"input": 1}, 400, "got a number"),
        ("/api/embed", {"input": "a", "dimensions": -1}, 400, "1 to 384"),
        ("/api/embeddings", {"prompt": ["a"]}, 400, "prompt must be a text, got a list"),
        ("/api/chat", {"model": "alignkit"}, 400, '"alignkit" does not support chat'),
        ("/api/generate", {"model": "Alignkit:latest"}, 400, '"Alignkit:latest" does not support generate'),
        ("/api/chat", {"model": "llama3"}, 404, 'model "llama3" not found'),
        ("/api/pull", {"model": "alignkit"}, 404, "no such path"),
    ],
)
def test_errors_are_ollamas(path, asked, status, words, service, ask):
    response = ask(service, "POST", path, json=asked)
    assert response.status_code == status
    assert words in response.json()["error"]
    assert len(response.json()["error"]) < 600


@pytest.mark.parametrize(
    "name", ["alignkit", "alignkit:latest", "AlignKit", "library/alignkit", "library/alignkit:latest"]
)
@pytest.mark.parametrize(
    ("path", "field"), [("/api/embed", "input"), ("/api/embeddings", "prompt"), ("/v1/embeddings", "input")]
)
def test_all_names_that_mean_the_model_to_ollama(name, path, field, service, ask):
    response = ask(service, "POST", path, json={"model": name, field: "a"})
    assert response.status_code == 200
    # as it was typed
    assert response.json().get("model", name) == name


def test_a_name_with_a_tag_is_another(aligned, ask):
    service = Service(Answerer(aligned), model="me/emb:v2")
    assert ask(service, "POST", "/api/embed", json={"model": "ME/emb:V2", "input": "a"}).status_code == 200
    for name in ("me/emb", "emb:v2", "me/emb:latest"):
        assert ask(service, "POST", "/api/embed", json={"model": name, "input": "a"}).status_code == 404
    (card,) = ask(service, "GET", "/api/tags").json()["models"]
    assert card["name"] == "me/emb:v2"


@pytest.mark.parametrize("name", ["", "  ", ":latest", "a\nb", None, 3])
def test_names_that_nobody_could_ask_for(name, aligned):
    with pytest.raises(ConfigError, match="expected the name that clients use"):
        Service(Answerer(aligned), model=name)


@pytest.mark.parametrize("texts", [["a", "", "b"], ["", "a"], ["a", " \n"], ["a", "b"] * 5 + ["\u200b"]])
def test_a_blank_text_among_others_costs_them_nothing(texts, service, ask, aligned):
    response = ask(service, "POST", "/api/embed", json={"model": "alignkit", "input": texts})
    assert response.status_code == 200
    got = np.array(response.json()["embeddings"], np.float32)
    full = [row for row, text in enumerate(texts) if text.strip() and text.isascii()]
    np.testing.assert_allclose(got[full], aligned.encode([texts[row] for row in full]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    blank = sorted(set(range(len(texts))) - set(full))
    np.testing.assert_array_equal(got[blank], got[blank[:1]].repeat(len(blank), axis=0))


@pytest.mark.parametrize("given", [" ", [""], ["", " "]])
def test_blank_texts_alone(given, service, ask):
    rows = ask(service, "POST", "/api/embed", json={"input": given}).json()["embeddings"]
    assert [len(row) for row in rows] == [384] * (1 if isinstance(given, str) else len(given))
    assert len(ask(service, "POST", "/api/embeddings", json={"prompt": " "}).json()["embedding"]) == 384


def test_a_head_without_an_offset_has_a_vector_for_blank_texts_too(ask):
    artifact = odd_artifact(confidence=True)
    for name, part in artifact.head.named_parameters():
        if "bias" in name:
            part.zero_()
    service = Service(Answerer(AlignedEmbedder(artifact, OddStudent())))
    response = ask(service, "POST", "/api/embed", json={"input": ["a", ""]})
    np.testing.assert_allclose(np.linalg.norm(response.json()["embeddings"], axis=1), 1, atol=1e-5)
    sure, blank = map(float, response.headers["x-alignkit-confidence"].split(","))
    assert sure > blank == 0


def test_tags_and_version(service, ask, artifact):
    (card,) = ask(service, "GET", "/api/tags").json()["models"]
    assert (card["name"], card["digest"]) == ("alignkit:latest", artifact.digest())
    assert card["details"]["parameter_size"] == "98.7K"
    assert ask(service, "GET", "/api/version").json() == {"version": __version__}


def test_what_the_command_line_asks(service, ask, artifact):
    for method in ("GET", "HEAD"):
        response = ask(service, method, "/")
        assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert ask(service, "GET", "/").text == "alignkit is running"
    (loaded,) = ask(service, "GET", "/api/ps").json()["models"]
    assert (loaded["name"], loaded["digest"]) == ("alignkit:latest", artifact.digest())
    # so far off that the command line prints "Forever"
    until = datetime.datetime.fromisoformat(loaded["expires_at"])
    assert until - datetime.datetime.now(datetime.UTC) > datetime.timedelta(days=50 * 365)
    for asked in ({"model": "alignkit"}, {"name": "Alignkit:latest", "verbose": True}):
        shown = ask(service, "POST", "/api/show", json=asked).json()
        assert shown["capabilities"] == ["embedding"]
        # the command line puts the architecture in front of what it looks for
        architecture = shown["model_info"]["general.architecture"]
        assert shown["model_info"][f"{architecture}.embedding_length"] == 384
        assert shown["details"]["family"] == "linear"


def test_the_door_is_open_to_who_has_no_token(aligned, ask):
    service = Service(Answerer(aligned), token="secret")
    assert ask(service, "HEAD", "/").status_code == 200
    for method, path in (("GET", "/api/ps"), ("POST", "/api/show"), ("POST", "/api/chat")):
        response = ask(service, method, path, json={"model": "alignkit"})
        assert response.status_code == 401
        assert "no valid token" in response.json()["error"]


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
