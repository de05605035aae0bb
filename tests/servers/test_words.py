import json

import pytest

from alignkit.servers.untrusted_words import one_line, words_of


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "too long"}',
        b'{"error": {"message": "too long", "code": 400}}',
        b'{"detail": "too long"}',
        b'{"detail": [{"loc": ["body"], "msg": "too long"}]}',
        b'{"object": "error", "message": "too long"}',
        b'{"error": null, "message": "too long"}',
        b'{"errors": 1, "title": "too long"}',
        b"too\n  long",
        b'"too long"',
    ],
)
def test_every_servers_words_are_found(body):
    assert words_of(body) == "too long"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"error": {}}', b'{"ok": false}'])
def test_a_server_may_say_nothing(body):
    assert words_of(body) == ""


def test_a_page_of_words_is_cut():
    for body in (b"x" * 10_000, json.dumps({"error": "word " * 10_000}).encode()):
        assert len(words_of(body)) <= 300
        assert words_of(body).endswith("…")


def test_nothing_that_a_terminal_or_a_reader_obeys_is_left():
    words = one_line("\x1b]0;title\x07red\x1b[31m \u202eevil\u2069\r\nFAKE: line\x00\x85\u2028end")
    assert words == "]0;title red [31m evil FAKE: line end"
    assert words.isprintable()


def test_an_answer_nested_without_end_is_text():
    assert words_of(b"[" * 100_000).startswith("[[[")
