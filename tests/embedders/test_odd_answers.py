"""Whatever a server tells of itself, nobody sees a traceback, a page of words, or what a terminal would obey."""

import json

import pytest
from fake_server import DIGEST, Handler

from alignkit.errors import EmbedderError

ODD = [
    {"data": ["tiny"], "models": ["tiny"]},
    {"data": {"tiny": {}}, "models": {"tiny": 1}},
    {"data": "x", "models": "x", "version": "x", "build_info": "x"},
    {"data": None, "models": None},
    {"data": [{"id": None}], "models": [{"name": None}]},
    {"data": [{"id": 5, "aliases": 7}], "models": [{"name": 5}]},
    {"data": [{"id": "tiny", "meta": [1]}], "models": [{"name": "tiny:latest", "digest": None}], "model_info": ["x"]},
    {
        "data": [{"id": "tiny", "meta": {"n_params": None}}],
        "models": [{"name": "tiny", "digest": DIGEST}],
        "modelfile": 7,
    },
    {"version": {"a": 1}, "build_info": ["x"], "model_sha": {"a": 1}},
    {"data": [{"id": "x" * 100_000}], "models": [{"name": f"model-{number}"} for number in range(2000)]},
    {"data": [{"id": "a\n\x1b[31mb"}], "models": [{"name": "a\n\x1b[31mb"}]},
    [],
    "text",
    1,
]


@pytest.mark.parametrize("body", ODD, ids=lambda body: json.dumps(body)[:40])
@pytest.mark.parametrize("make", ["ollama", "openai"])
def test_what_servers_tell_of_themselves(server, request, monkeypatch, make, body):
    def do_post(handler):
        if not handler.path.endswith("/api/show"):
            return embed(handler)
        handler.rfile.read(int(handler.headers["Content-Length"]))
        return handler.send_json(200, body)

    embed = Handler.do_POST
    monkeypatch.setattr(Handler, "do_GET", lambda handler: handler.send_json(200, body))
    monkeypatch.setattr(Handler, "do_POST", do_post)
    embedder = request.getfixturevalue(make)()
    for ask in (embedder.identity, embedder.provenance, embedder.current_identity):
        try:
            found = ask()
        except EmbedderError as error:
            assert str(error).isprintable() and len(str(error)) < 700
        else:
            assert json.loads(json.dumps(found)) == found
            assert all(value is None or isinstance(value, str | int | float | bool | dict) for value in found.values())
            assert all(value.isprintable() for value in found.values() if isinstance(value, str))


def test_a_load_time_that_is_none(server, ollama):
    server.always = lambda handler, texts: handler.send_json(
        200, {"embeddings": [[1.0] * 7 + [float(place)] for place in range(len(texts))], "load_duration": "soon"}
    )
    (batch,) = ollama().embed(["a", "b"])
    assert len(batch.indices) == 2
