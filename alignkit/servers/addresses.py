"""Parses a server's address as users type it."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from dataclasses import dataclass

from alignkit.errors import ConfigError
from alignkit.setting_names import SettingNames

OLLAMA_PORT = 11434
OLLAMA_HOST = "OLLAMA_HOST"
_EXAMPLE = "expected http://HOST:PORT or https://HOST, such as http://127.0.0.1:11434"
# users paste the URL of a request in place of the server's address
_OLLAMA_REQUESTS = re.compile(
    r"(/(v1|api)(/(embed|embeddings|generate|chat/completions|chat|completions|models|tags|show|ps|version))?)+$",
    re.IGNORECASE,
)
_OPENAI_REQUESTS = re.compile(r"/(embeddings|models|chat/completions|completions|responses)$", re.IGNORECASE)
_VERSIONS = re.compile(r"(/v\d+)(/v\d+)*$", re.IGNORECASE)


@dataclass(frozen=True)
class _Address:
    scheme: str
    user: str  # with its "@", or empty
    host: str
    port: int | None
    path: str
    query: str  # with its "?", or empty

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.user}{host}{port}{self.path}{self.query}"


def ollama_address(base_url: str | None) -> str:
    """The root of an Ollama server.

    Args:
        base_url: as typed: a host, a host with a port, a URL, or the URL of one of Ollama's requests. None or ""
            takes what Ollama's own client would: the environment variable `OLLAMA_HOST`, otherwise this machine.

    Raises:
        ConfigError: if it is not an address.

    >>> ollama_address("gpu-machine"), ollama_address("http://127.0.0.1:11434/v1/")
    ('http://gpu-machine:11434', 'http://127.0.0.1:11434')
    """
    if base_url is None or not _cleaned(base_url):
        return _from_environment(os.environ.get(OLLAMA_HOST, ""))
    address = _parsed(base_url, SettingNames()("base_url"), lenient_port=False)
    return _ollama(address, has_scheme=_has_scheme(base_url))


def openai_address(base_url: str | None, sends_key: bool = False) -> str:
    """The root of a server that speaks OpenAI's API, usually with its `/v1`.

    Args:
        base_url: as typed.
        sends_key: whether a key will be sent; a remote address then needs its scheme, since http is not guessed.

    Raises:
        ConfigError: if it is not an address.

    >>> openai_address("127.0.0.1:8080/v1/embeddings")
    'http://127.0.0.1:8080/v1'
    """
    name = SettingNames()("base_url")
    if base_url is None or not _cleaned(base_url):
        raise ConfigError(f"{name} is empty; give the server's address, such as http://127.0.0.1:8080/v1")
    address = _parsed(base_url, name, lenient_port=False)
    if not _has_scheme(base_url) and sends_key and not is_loopback(address.host):
        raise ConfigError(
            f"{name}={base_url}: a key is sent there, so say https:// (or http://, which sends the key in the clear)"
        )
    if re.search(r"/api/(embed|embeddings|generate|chat|tags)$", address.path, re.IGNORECASE):
        path = _OLLAMA_REQUESTS.sub("", address.path) + "/v1"  # Ollama's native API; OpenAI's is beside it
    else:
        path = _OPENAI_REQUESTS.sub("", address.path)
        # servers distinguish `/V1` from `/v1`, and none has both
        path = _VERSIONS.sub(lambda found: found[1].lower(), path)
    return str(_Address(address.scheme, address.user, _reachable(address.host), address.port, path, address.query))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("10.0.0.1")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _from_environment(value: str) -> str:
    """As Ollama's client reads `OLLAMA_HOST` (envconfig.Host and ConnectableHost): an invalid port counts as unset.

    The variable also tells servers where to listen, so it may be an address that cannot be connected to, such as
    0.0.0.0.
    """
    if _cleaned(value) == "ollama.com":
        return "https://ollama.com:443"
    address = _parsed(value, OLLAMA_HOST, lenient_port=True)
    return _ollama(address, has_scheme=_has_scheme(value))


def _ollama(address: _Address, has_scheme: bool) -> str:
    # with a scheme, the default port is the scheme's
    port = address.port if address.port is not None or has_scheme else OLLAMA_PORT
    path = _OLLAMA_REQUESTS.sub("", address.path)
    return str(_Address(address.scheme, address.user, _reachable(address.host), port, path, address.query))


def _cleaned(value: str) -> str:
    # quotes come from .env files and cmd's `set`
    return value.strip().strip("\"'").strip().replace("\\", "/")


def _has_scheme(value: str) -> bool:
    return re.match(r"https?:(?!\d+$)|[a-z][a-z0-9+.-]*://", _cleaned(value), re.IGNORECASE) is not None


def _parsed(value: str, setting: str, lenient_port: bool) -> _Address:
    text = _cleaned(value)
    if _has_scheme(value):
        scheme, rest = re.split(r":/*", text, maxsplit=1)
    else:
        scheme, rest = "http", text.lstrip("/")
    shown = re.sub(r"[^/@\s]+@", "***@", f"{setting}={value}")
    if scheme.lower() not in ("http", "https"):
        raise ConfigError(f"{shown}: {scheme}:// is not a web address; {_EXAMPLE}")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(place) :]
    user, _, hostport = place.rpartition("@")
    host, port = _host_and_port(hostport)
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535 else None
    if port and number is None and not lenient_port:
        raise ConfigError(f"{shown}: '{port}' is not a port; {_EXAMPLE}")
    if (not host and not port) and (user or _has_scheme(value)):
        raise ConfigError(f"{shown}: no host; {_EXAMPLE}")
    if not re.fullmatch(r"[^\s\[\]<>\"'`{}|^,;=*]*", host):
        raise ConfigError(f"{shown}: '{host}' is not a host; {_EXAMPLE}")
    path, _, query = tail.partition("#")[0].partition("?")
    path = urllib.parse.quote(re.sub("/+", "/", path), safe="/%:@!$&'()*+,;=~").rstrip("/")
    return _Address(
        scheme.lower(), f"{user}@" if user else "", host.lower(), number, path, f"?{query}" if query else ""
    )


def _host_and_port(hostport: str) -> tuple[str, str]:
    """Split `[::1]:80`, `::1`, `host:80`, `host` or `:80`."""
    if found := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", hostport):
        return found[1], found[2] or ""
    try:
        return str(ipaddress.IPv6Address(hostport.strip("[]"))), ""
    except ValueError:
        host, _, port = hostport.partition(":")
        return host, port


def _reachable(host: str) -> str:
    """Replace the "every address" that a server may listen on by this machine's own address."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
