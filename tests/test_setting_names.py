"""Messages of a part call its settings as they have to be typed: plainly in Python, by their place in a command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alignkit.commandline.composed import build
from alignkit.embedders.base import embed_all
from alignkit.errors import AlignkitError
from alignkit.parts import build_part

sys.path.insert(0, str(Path(__file__).parent / "embedders"))
from listening import listening  # noqa: E402
from ports import deaf_port  # noqa: E402

OLLAMA, OPENAI = "alignkit.embedders.ollama.OllamaEmbedder", "alignkit.embedders.openai.OpenAIEmbedder"
USUAL = {"_target_": OPENAI, "model": "m", "retries": 0, "timeout_s": 0.3, "first_timeout_s": 0.3}


def answer(body, status="200 OK"):
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return f"{head}\r\n{body}".encode()


WIDE = '{"data": [{"index": 0, "embedding": [0.6, 0.8, 0.0]}]}'
REDIRECT = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/v2/embeddings\r\nContent-Length: 0\r\n\r\n"
HTTPS = answer('{"error": "Client sent an HTTP request to an HTTPS server."}', "400 Bad Request")
# what is set, what the server says (None: nobody is there), what the message asks for
CASES = {
    "no Ollama": ({"_target_": OLLAMA}, None, "or set {place}base_url"),
    "no server": ({}, None, "is {place}base_url right?"),
    "no host": ({"base_url": "http://"}, None, "{place}base_url=http://: no host"),
    "no address": ({"base_url": ""}, None, "{place}base_url is empty"),
    "a key in the clear": ({"base_url": "gpu.example/v1", "api_key_env": "PATH"}, None, "{place}base_url=gpu.example"),
    "a key for its variable": ({"api_key_env": "sk-" + "a1" * 20}, None, "{place}api_key_env: expected the name"),
    "no width": ({"dimensions": 0}, None, "{place}dimensions=0: expected"),
    "no batch": ({"batch_size": 0}, None, "{place}batch_size=0: expected"),
    "a batch and a half": ({"batch_size": 1.5}, None, "{place}batch_size=1.5: expected a whole number"),
    "no connection": ({"concurrency": 0}, None, "{place}concurrency=0: expected a whole number of at least 1"),
    "less than no retry": ({"retries": -1}, None, "{place}retries=-1: expected a whole number of at least 0"),
    "a wait in words": ({"retry_wait_s": "soon"}, None, "{place}retry_wait_s=soon: expected a number"),
    "no time": ({"timeout_s": 0}, None, "{place}timeout_s=0: expected a number above 0"),
    "no time to load": (
        {"_target_": OLLAMA, "first_timeout_s": "1m"},
        None,
        "{place}first_timeout_s=1m: expected a number above 0",
    ),
    "no model of Ollama": ({"_target_": OLLAMA, "model": " "}, None, "{place}model is empty"),
    "busy": (
        {},
        answer("{}", "504 Gateway Timeout"),
        "give it longer with {place}timeout_s, or less at once with {place}",
    ),
    "no such model": ({}, answer('{"error": "no such model"}', "404 Not Found"), "set {place}model to one"),
    "no key": ({}, answer('{"error": "who?"}', "401 Unauthorized"), "holds the key in {place}api_key_env"),
    "another place": ({}, answer("404 page not found", "404 Not Found"), "set {place}base_url=http"),
    "another width": ({"dimensions": 2}, answer(WIDE), "expected {place}dimensions=2; leave {place}dimensions unset"),
    "a redirect": ({}, REDIRECT, "set {place}base_url=http://127.0.0.1:9/v2"),
    "https": ({}, HTTPS, "set {place}base_url to https"),
    "static": ({"_target_": "alignkit.embedders.static.StaticEmbedder", "batch_size": 0}, None, "{place}batch_size=0:"),
    "a local model": (
        {"_target_": "alignkit.embedders.sentence_transformer.SentenceTransformerEmbedder", "batch_size": 0},
        None,
        "{place}batch_size=0:",
    ),
}


def message_of(make):
    with pytest.raises(AlignkitError) as error:
        embedder = make()
        try:
            embed_all(embedder, ["a text"])
        finally:
            embedder.close()
    return str(error.value)


@pytest.mark.parametrize("place", ["teacher", ""], ids=["command", "Python"])
@pytest.mark.parametrize(("given", "reply", "wanted"), CASES.values(), ids=CASES.keys())
def test_a_setting_is_called_by_its_place(given, reply, wanted, place):
    settings = {**USUAL, **given}
    if "static" in settings["_target_"] or "sentence" in settings["_target_"]:
        settings = {"_target_": settings["_target_"], "batch_size": 0}
        if "sentence" in settings["_target_"]:
            settings["model"] = "m"
    with listening(reply or b"") as there:
        if "static" not in settings["_target_"] and "sentence" not in settings["_target_"]:
            path = "" if "place" in wanted and reply and b"page not found" in reply else "/v1"
            settings.setdefault("base_url", f"http://{f'127.0.0.1:{deaf_port()}' if reply is None else there}{path}")
        message = message_of(lambda: build(settings, place))
    assert wanted.format(place=f"{place}." if place else "") in message


def test_a_part_within_a_part_is_called_by_its_own_name():
    """`data.student` is `student` on the command line, and `data.negatives` is no embedder."""
    inner = {**USUAL, "base_url": "http://"}
    with pytest.raises(AlignkitError, match=r"^student\.base_url=http://: no host"):
        build_part({"_target_": "builtins.dict", "student": inner})


def test_a_command_says_what_to_type(run_command, tmp_path):
    (tmp_path / "sentences.txt").write_text("one\ntwo\n", encoding="utf-8")
    code, _, err = run_command(
        "embed", "which=teacher", "teacher=openai", "teacher.model=m", f"teacher.base_url=http://127.0.0.1:{deaf_port()}/v1",
        "sentences=sentences.txt", f"cache_dir={tmp_path / 'cache'}",
    )  # fmt: skip
    assert code == 1 and "is teacher.base_url right?" in err


def test_the_chat_model_of_a_build_is_called_generator(run_command, tmp_path):
    code, _, err = run_command("build", "generator=llm", "generator.base_url=http://", "generator.model=m", "out=x")
    assert code == 1 and "generator.base_url=http://: no host" in err
