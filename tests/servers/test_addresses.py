"""Addresses as people type them. Those of OLLAMA_HOST are read as Ollama's own client reads them."""

import pytest

from alignkit.errors import ConfigError
from alignkit.servers.addresses import OLLAMA_HOST, is_loopback, ollama_address, openai_address

HERE = "http://127.0.0.1:11434"


@pytest.fixture(autouse=True)
def no_ollama_host(monkeypatch):
    monkeypatch.delenv(OLLAMA_HOST, raising=False)


@pytest.mark.parametrize(
    "end",
    [
        "", "/", "//", "/v1", "/v1/", "/api", "/api/", "/api/embed", "/api/embed/", "/api/embeddings", "/v1/embeddings",
        "/v1/embeddings/", "/api/tags", "/api/chat", "/api/generate", "/v1/models", "/v1/chat/completions",
        "/API/Embed", "//api//embed", "/v1/api/embed", "/api/api/embed", "/v1?x#y", "/#top",
    ],
)  # fmt: skip
def test_the_address_of_one_request_is_that_of_the_server(end):
    assert ollama_address(f"{HERE}{end}").partition("?")[0] == HERE
    assert ollama_address(f"http://h/ollama{end}").partition("?")[0] == "http://h/ollama"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("localhost:11434", "http://localhost:11434"),
        ("gpu-machine", "http://gpu-machine:11434"),
        ("10.0.0.7:80", "http://10.0.0.7:80"),
        ("//localhost:11434/", "http://localhost:11434"),
        (" http://localhost:11434 ", "http://localhost:11434"),
        ('"http://localhost:11434"', "http://localhost:11434"),
        ("HTTP://LocalHost:11434", "http://localhost:11434"),
        ("http:/localhost:11434", "http://localhost:11434"),
        ("http:localhost:11434", "http://localhost:11434"),
        (r"http:\\localhost:11434\v1", "http://localhost:11434"),
        ("http://gpu-machine", "http://gpu-machine"),
        ("https://ollama.example.com/", "https://ollama.example.com"),
        ("http://0.0.0.0:11434", HERE),
        ("0.0.0.0", HERE),
        ("http://[::]:11434", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        (":11434", HERE),
        ("http://me:pw@h:1/v1", "http://me:pw@h:1"),
    ],
)
def test_what_is_left_out_or_odd(typed, meant):
    assert ollama_address(typed) == meant


# value -> Ollama's envconfig.Host, an address nobody can connect to replaced as its ConnectableHost does
OLLAMA_HOSTS = {
    "": HERE,
    "1.2.3.4": "http://1.2.3.4:11434",
    ":1234": "http://127.0.0.1:1234",
    "1.2.3.4:1234": "http://1.2.3.4:1234",
    "example.com": "http://example.com:11434",
    "example.com:1234": "http://example.com:1234",
    ":66000": HERE,
    ":-1": HERE,
    "example.com:port": "http://example.com:11434",
    "[::1]": "http://[::1]:11434",
    "[::]": "http://[::1]:11434",
    "::1": "http://[::1]:11434",
    "[::1]:1337": "http://[::1]:1337",
    " 1.2.3.4 ": "http://1.2.3.4:11434",
    '"1.2.3.4"': "http://1.2.3.4:11434",
    ' " 1.2.3.4 " ': "http://1.2.3.4:11434",
    "'1.2.3.4'": "http://1.2.3.4:11434",
    "http://1.2.3.4": "http://1.2.3.4",
    "http://1.2.3.4:4321": "http://1.2.3.4:4321",
    "https://1.2.3.4": "https://1.2.3.4",
    "https://example.com/ollama": "https://example.com/ollama",
    "example.com/": "http://example.com:11434",
    "example.com/path": "http://example.com:11434/path",
    "example.com:56789/path/": "http://example.com:56789/path",
    "0.0.0.0": HERE,
    "0.0.0.0:8080": "http://127.0.0.1:8080",
    "http://0.0.0.0:11434": HERE,
    "ollama.com": "https://ollama.com:443",
}


@pytest.mark.parametrize("value", OLLAMA_HOSTS)
def test_ollama_host_is_read_as_ollamas_client_reads_it(monkeypatch, value):
    monkeypatch.setenv(OLLAMA_HOST, value)
    assert ollama_address(None) == ollama_address("") == OLLAMA_HOSTS[value]
    assert ollama_address("http://given:1") == "http://given:1"


@pytest.mark.parametrize(
    "value", ["1.2.3.4", ":1234", "h:1234", "[::1]", "[::1]:1337", "http://1.2.3.4", "https://h/ollama", "h/path", "h/"]
)
def test_it_agrees_with_the_package_ollama(monkeypatch, value):
    parse = pytest.importorskip("ollama._client")._parse_host
    httpx = pytest.importorskip("httpx")
    monkeypatch.setenv(OLLAMA_HOST, value)
    assert httpx.URL(ollama_address(None)) == httpx.URL(parse(value))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/embeddings", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/embeddings/", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/models", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/V1", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/V1/Embeddings", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/v1", "http://127.0.0.1:8080/v1"),
        ("https://h/api/v1/chat/completions", "https://h/api/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("0.0.0.0:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:11434/api/embed", "http://127.0.0.1:11434/v1"),
        ("https://h/v1/?api-version=2024-10-21", "https://h/v1?api-version=2024-10-21"),
    ],
)
def test_openais_api(typed, meant):
    assert openai_address(typed) == meant


@pytest.mark.parametrize("read", [ollama_address, openai_address])
@pytest.mark.parametrize(
    "typed",
    ["http://", "ftp://h", "unix:///run/x.sock", "http://ho st", "http://h:99999", "http://h:port", "h:0x1", "a b",
     "http://[::1", "<url>", "http://{host}:80", "http://@"],
)  # fmt: skip
def test_what_is_no_address(read, typed):
    if typed == "http://[::1":
        assert read(typed) == "http://[::1]"  # as Ollama reads it
        return
    with pytest.raises(ConfigError, match=r"^base_url=.*expected http://HOST:PORT") as error:
        read(typed)
    assert "\n" not in str(error.value)


def test_an_address_that_is_none_names_where_it_stands(monkeypatch):
    monkeypatch.setenv(OLLAMA_HOST, "tcp://h:1")
    with pytest.raises(ConfigError, match=r"^OLLAMA_HOST=tcp://h:1: tcp:// is not a web address"):
        ollama_address(None)
    with pytest.raises(ConfigError, match="base_url is empty"):
        openai_address(" ")


def test_a_password_is_not_repeated():
    with pytest.raises(ConfigError, match=r"\*\*\*@") as error:
        ollama_address("http://me:hush@ho st:1")
    assert "hush" not in str(error.value)


def test_a_key_is_not_sent_in_the_clear_by_a_guess():
    with pytest.raises(ConfigError, match="say https://"):
        openai_address("api.example.com/v1", sends_key=True)
    assert openai_address("localhost:8080/v1", sends_key=True) == "http://localhost:8080/v1"
    assert openai_address("http://api.example.com/v1", sends_key=True) == "http://api.example.com/v1"


def test_what_is_this_machine():
    assert is_loopback("127.0.0.5") and not is_loopback("example.com")
