"""The names of the served model as clients of Ollama's and OpenAI's APIs write them, and the answer to others."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.embedders.sameness import normal_name
from alignkit.errors import ConfigError
from alignkit.serving.request_faults import RequestFault

LONGEST_SHOWN = 128


class ServedNames:
    """All names of one model; clients of fixed names, such as `text-embedding-3-small`, need one of their own.

    Args:
        first: the name that the model has by itself.
        more: further ones.

    Raises:
        ConfigError: if a name is not a text, is blank, or has more than one line.

    Attributes:
        all: each once, the first one first.
    """

    def __init__(self, first: str, more: Sequence[str] = ()) -> None:
        _check("model_name", first)
        self._by_normal = {normal_name(first): first}
        for name in more:
            _check("served_names", name)
            self._by_normal.setdefault(normal_name(name), name)
        self.all = tuple(self._by_normal.values())

    def of(self, asked: str) -> str | None:
        """The name that a client means, by Ollama's rule: case, `:latest` and `library/` make no difference.

        >>> names = ServedNames("alignkit", ["text-embedding-3-small"])
        >>> [names.of(asked) for asked in ("Alignkit:latest", "library/alignkit", "alignkit:v2")]
        ['alignkit', 'alignkit', None]
        """
        return self._by_normal.get(normal_name(asked))


def _check(setting: str, name: object) -> None:
    if not isinstance(name, str) or not normal_name(name) or not name.isprintable():
        raise ConfigError(f"{setting}={name!r}: expected the name that clients use, such as alignkit")


def tagged_name(name: str) -> str:
    """The name with its tag, as Ollama lists it.

    >>> tagged_name("alignkit"), tagged_name("me/alignkit:v2")
    ('alignkit:latest', 'me/alignkit:v2')
    """
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def shown_name(name: object) -> str:
    """A name that a client sent, made safe for an answer: short and on one line."""
    text = str(name)[:LONGEST_SHOWN]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def unknown_to_ollama(name: object) -> RequestFault:
    """The error for another model's name, in Ollama's own words, which some clients look for."""
    words = f'model "{shown_name(name)}" not found, try pulling it first' if name else "model '' not found"
    return RequestFault(404, words, param="model", code="model_not_found")


def unknown_to_openai(name: str, names: Sequence[str]) -> RequestFault:
    """The same on OpenAI's API."""
    there = ", ".join(f"'{name}'" for name in names)
    words = f"model '{shown_name(name)}' not found; this server has {there}; served_names=[…] gives it more names"
    return RequestFault(404, words, param="model", code="model_not_found")
