"""One model under several names: every route knows them all."""

import pytest

from alignkit.errors import ConfigError
from alignkit.serving.answers import Answerer
from alignkit.serving.names import ServedNames
from alignkit.serving.service import Service

NAMES = ["text-embedding-3-small", "org/Embed:v2"]


def test_every_route_knows_every_name(aligned, ask):
    service = Service(Answerer(aligned), served_names=NAMES)
    for name in ("alignkit", *NAMES):
        for asked in (name, name.upper(), name if ":" in name else f"{name}:latest"):
            for path, field in (("/v1/embeddings", "input"), ("/api/embed", "input"), ("/api/embeddings", "prompt")):
                response = ask(service, "POST", path, json={"model": asked, field: "a"})
                assert (response.status_code, response.json().get("model", asked)) == (200, asked)
            assert ask(service, "POST", "/api/show", json={"model": asked}).status_code == 200
            assert ask(service, "GET", f"/v1/models/{asked}").json()["id"] == name
            chat = ask(service, "POST", "/api/chat", json={"model": asked})
            assert chat.json()["error"] == f'"{asked}" does not support chat'
    assert [card["id"] for card in ask(service, "GET", "/v1/models").json()["data"]] == ["alignkit", *NAMES]
    tagged = ["alignkit:latest", "text-embedding-3-small:latest", "org/Embed:v2"]
    for path in ("/api/tags", "/api/ps"):
        assert [card["name"] for card in ask(service, "GET", path).json()["models"]] == tagged
    missing = ask(service, "POST", "/v1/embeddings", json={"model": "text-embedding-3-large", "input": "a"})
    assert missing.status_code == 404
    assert "has 'alignkit', 'text-embedding-3-small', 'org/Embed:v2'; served_names=" in missing.text


def test_a_name_given_twice_is_one():
    assert ServedNames("a", ["b", "A:latest", "library/b", "c"]).all == ("a", "b", "c")


@pytest.mark.parametrize("name", ["", " ", "a\nb", None, 3])
def test_names_that_nobody_could_ask_for(name):
    with pytest.raises(ConfigError, match="served_names=.*: expected the name that clients use"):
        ServedNames("alignkit", ["fine", name])
