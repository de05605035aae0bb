"""What answers is not what was meant, or not at all as it should: at once, with its words and the mend, in one line."""

import functools
import logging
import socket

import fake_server as fake
import pytest
from collecting import assert_right, collect
from fake_server import vector_of
from listening import listening
from ports import deaf_port

from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.remote import connection
from alignkit.errors import EmbedderError

TEXTS = [f"sentence number {number}" for number in range(23)]


@pytest.fixture(autouse=True)
def at_once(waits):
    """Nobody waits before another attempt at what will not change."""
    yield
    assert not [wait_s for wait_s in waits if wait_s >= 1]


@pytest.fixture
def ollama(ollama):
    return functools.partial(ollama, retry_wait_s=20)


@pytest.fixture
def openai(openai):
    return functools.partial(openai, retry_wait_s=20)


def error_of(embedder, texts=TEXTS):
    with pytest.raises(EmbedderError) as error:
        collect(embedder, texts)
    assert str(error.value).isprintable()
    return str(error.value)


class TestAddresses:
    @pytest.mark.parametrize(
        "end", ["/v1", "/api", "/api/embed", "/api/embeddings", "/v1/embeddings/", "/", "/api/tags"]
    )
    def test_the_address_of_a_request_will_do(self, ollama, server, end):
        embedder = ollama(base_url=f"{server.url}{end}")
        assert len(collect(embedder, TEXTS)[0]) == len(TEXTS)
        assert embedder.provenance()["base_url"] == server.url

    def test_no_scheme_and_ollama_host(self, ollama, server, monkeypatch):
        host = server.url.removeprefix("http://")
        assert collect(ollama(base_url=host), TEXTS[:2])[0]
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{host.rpartition(':')[2]}")
        assert collect(ollama(base_url=None), TEXTS[:2])[0]

    def test_a_404_in_plain_text_is_an_address_and_no_missing_model(self, ollama, server):
        message = error_of(ollama(base_url=f"{server.url}/elsewhere"))
        assert "HTTP 404: 404 page not found; does Ollama answer at" in message
        assert "ollama pull" not in message

    def test_a_404_of_another_server_is_an_address(self, ollama, server):
        server.always = lambda handler, texts: handler.send_json(404, {"error": {"message": "File Not Found"}})
        message = error_of(ollama())
        assert "File Not Found; does Ollama answer" in message and "pull" not in message

    def test_a_missing_model_is_no_address(self, ollama, openai, server):
        assert "run: ollama pull other" in error_of(ollama(model="other"))
        words = {"error": {"message": 'model "other" not found, try pulling it first', "type": "not_found_error"}}
        server.always = lambda handler, texts: handler.send_json(404, words)
        message = error_of(openai(model="other"))
        assert "set model to one that the server has" in message and "/v1:" not in message

    @pytest.mark.parametrize("code", [404, 405])
    def test_without_v1_the_mend_is_the_whole_address(self, openai, server, code):
        server.always = fake.status(code, "no such page")
        message = error_of(openai(base_url=server.url, concurrency=1))
        assert message.endswith(f"set base_url={server.url}/v1")
        assert len(server.requests) == 1

    def test_a_list_for_an_answer_is_another_api(self, openai, server):
        """llama-server's own /embeddings: a vector for each token."""
        server.always = lambda handler, texts: handler.send_json(
            200, [{"index": place, "embedding": [vector_of(text, 8).tolist()]} for place, text in enumerate(texts)]
        )
        message = error_of(openai(base_url=server.url))
        assert "got a list" in message and message.endswith(f"set base_url={server.url}/v1")

    def test_ollamas_answer_to_openais_question_says_which_embedder(self, openai, server):
        server.always = lambda handler, texts: handler.send_json(200, {"embedding": [0.1, 0.2]})
        message = error_of(openai())
        assert "the answer has no list 'data'; its fields are embedding" in message
        assert "the embedder ollama" in message


class TestErrorsInAnswers:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (
                {"error": {"message": "No models loaded. Please load a model", "code": "model_not_found"}},
                "No models loaded",
            ),
            ({"error": "Unexpected endpoint or method. (POST /embeddings)"}, "Unexpected endpoint"),
            ({"error": {"message": "the cat sat on the disk", "code": None}}, "the cat sat on the disk"),
            ({"detail": "nobody is here"}, "it says: nobody is here"),
            ({"object": "error", "message": "nobody is here", "code": 400}, "it says: nobody is here"),
        ],
    )
    def test_the_servers_words_are_quoted(self, openai, server, body, words):
        server.always = lambda handler, texts: handler.send_json(200, body)
        assert words in error_of(openai())
        assert len(server.requests) <= 4  # one batch, in two forms, and a harmless text

    def test_an_error_that_passes_costs_nothing(self, openai, server):
        server.faults = [lambda handler, texts: handler.send_json(200, {"error": "model is loading, try again"})] * 2
        vectors, failures = collect(openai(retry_wait_s=0.01), TEXTS)
        assert not failures
        assert_right(vectors, TEXTS)

    def test_an_error_about_one_text_is_that_texts(self, openai, server):
        def refuses(handler, texts):
            if any("bad" in text for text in texts):
                return handler.send_json(200, {"error": {"message": "input refused by policy"}})
            return texts

        server.always = refuses
        vectors, failures = collect(openai(), [*TEXTS[:7], "bad one", *TEXTS[7:]])
        assert list(failures) == [7] and "refused by policy" in failures[7]

    def test_the_words_are_data(self, openai, server):
        words = "line one\nalignkit: all is well\r\x1b[2J\x1b]0;x\x07\u202e" + "x" * 5000
        server.always = lambda handler, texts: handler.send_json(403, {"error": {"message": words}})
        message = error_of(openai())
        assert message.isprintable() and len(message) < 600
        assert "line one alignkit: all is well [2J" in message

    def test_a_spent_quota_is_not_waited_for(self, openai, server):
        words = "You exceeded your current quota, please check your plan and billing details."
        server.always = lambda handler, texts: handler.send_json(429, {"error": {"message": words}})
        assert "HTTP 429: You exceeded your current quota" in error_of(openai())

    def test_half_a_key_is_not_shown_where_the_words_are_cut(self, openai, server, monkeypatch):
        key = "sk-" + "k" * 60
        monkeypatch.setenv("ALIGNKIT_TEST_KEY", key)
        server.always = lambda handler, texts: handler.send_json(401, {"error": {"message": "x" * 280 + key}})
        assert "kkk" not in error_of(openai(api_key_env="ALIGNKIT_TEST_KEY"))


class TestRedirects:
    def test_to_the_same_server_are_followed(self, openai, server, caplog):
        def slash(handler, texts):
            return handler.send_json(307, {}, {"Location": f"{server.url}/v1/embeddings/"})

        # half of the requests are moved
        server.always = lambda handler, texts: (
            slash(handler, texts) if handler.path.endswith("s") else answer(handler, texts)
        )

        def answer(handler, texts):
            data = [{"index": place, "embedding": vector_of(text, 8).tolist()} for place, text in enumerate(texts)]
            return handler.send_json(200, {"data": data})

        with caplog.at_level(logging.INFO, logger="alignkit"):
            vectors, failures = collect(openai(), TEXTS)
        assert not failures
        assert_right(vectors, TEXTS)
        assert caplog.text.count("sends requests on to /v1/embeddings/") == 1

    def test_in_a_circle_end(self, openai, server):
        server.always = lambda handler, texts: handler.send_json(307, {}, {"Location": f"{server.url}/v1/embeddings"})
        assert "HTTP 307 and sends requests on to" in error_of(openai())

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_elsewhere_are_named_and_never_followed(self, openai, server, code, monkeypatch):
        monkeypatch.setenv("ALIGNKIT_TEST_KEY", "sk-1234567")
        there = {"Location": "https://elsewhere.example.com/base/v1/embeddings?session=secret"}
        server.always = lambda handler, texts: handler.send_json(code, {}, there)
        message = error_of(openai(api_key_env="ALIGNKIT_TEST_KEY"))
        assert f"HTTP {code} and sends requests on to https://elsewhere.example.com/base/v1/embeddings;" in message
        assert message.endswith("set base_url=https://elsewhere.example.com/base/v1")
        assert "secret" not in message

    def test_to_a_page_for_people(self, openai, server):
        server.always = lambda handler, texts: handler.send_json(302, {}, {"Location": "/login"})
        assert f"sends requests on to {server.url}/login; set base_url to what answers" in error_of(openai())


class TestOtherProtocols:
    def test_https_on_a_plain_port_says_http(self, ollama):
        with listening(b"HTTP/1.0 400 Bad Request\r\n\r\n") as place:
            message = error_of(ollama(base_url=f"https://{place}"))
        assert f"the server speaks plain http there; set base_url=http://{place}" in message

    def test_https_on_a_port_that_waits_in_silence(self, ollama, monkeypatch):
        monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.2)
        with listening(hold=True) as place:
            message = error_of(ollama(base_url=f"https://{place}"))
        assert "no connection" in message and "a server of plain http may stay silent" in message

    @pytest.mark.parametrize(
        "words",
        [
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
            b"<title>400 The plain HTTP request was sent to HTTPS port</title>",
        ],
        ids=["go", "nginx"],
    )
    def test_http_on_a_port_of_https_says_https(self, ollama, words):
        with listening(words) as place:
            assert "set base_url to https://" in error_of(ollama(base_url=place))

    def test_what_speaks_no_http(self, ollama):
        with listening(b"-ERR unknown command 'POST'\r\n\r\n") as place:
            message = error_of(ollama(base_url=place))
        assert f"what listens at http://{place} does not speak HTTP" in message and "is the port right?" in message

    def test_what_hangs_up_at_once(self, ollama):
        with listening(b"") as place:
            message = error_of(ollama(base_url=place, retries=1, retry_wait_s=0.01))
        assert "connection broken" in message and "does it want https://" in message

    def test_nobody_there(self, ollama, monkeypatch):
        place = f"127.0.0.1:{deaf_port()}"
        message = error_of(ollama(base_url=place))
        assert f"cannot connect to http://{place} (connection refused); is Ollama running there?" in message
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: (_ for _ in ()).throw(socket.gaierror(-2, "Name or service not known")),
        )
        assert "(no such host)" in error_of(ollama(base_url="no-such-host.invalid"))

    def test_a_proxy_that_refuses(self, openai, monkeypatch):
        with listening(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as place:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{place}")
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            message = error_of(openai(base_url="https://api.example.com/v1"))
        assert "the proxy in between refuses it: 403" in message and "NO_PROXY" in message


def test_pages_that_answer_anything_with_html_do_not_stop_the_identity(server):
    """A web app that serves its start page under every path it does not know, beside a sound /v1/embeddings."""
    from fake_server import Handler

    original = Handler.do_GET
    try:
        Handler.do_GET = lambda handler: handler.send_text(200, "<html>app</html>", "text/html")
        embedder = OpenAIEmbedder("tiny", f"{server.url}/v1", retry_wait_s=5)
        assert embedder.identity()["digest"] == f"server:{server.url}/v1"
        assert embedder.provenance()["server"] == "openai"
        embedder.close()
    finally:
        Handler.do_GET = original
