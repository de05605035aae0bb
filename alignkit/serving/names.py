"""The name of the served model as clients of Ollama's and OpenAI's APIs write it, and the answer to other names."""

from __future__ import annotations

from alignkit.embedders.sameness import normal_name
from alignkit.errors import ConfigError
from alignkit.serving.request_faults import RequestFault

LONGEST_SHOWN = 128


def check_served_name(name: object) -> None:
    """Refuse a name that no client could ask for.

    Raises:
        ConfigError: if it is not a text, is blank, or has more than one line.
    """
    if not isinstance(name, str) or not normal_name(name) or not name.isprintable():
        raise ConfigError(f"model_name={name!r}: expected the name that clients use, such as alignkit")


def is_name_of(asked: str, model: str) -> bool:
    """Whether a client means this model, by Ollama's rule: case, `:latest` and `library/` make no difference.

    >>> [is_name_of(asked, "alignkit") for asked in ("Alignkit:latest", "library/alignkit", "alignkit:v2")]
    [True, True, False]
    """
    return normal_name(asked) == normal_name(model)


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


def unknown_to_openai(name: object, model: str) -> RequestFault:
    """The same on OpenAI's API."""
    words = f"model '{shown_name(name)}' not found; this server has '{model}'"
    return RequestFault(404, words, param="model", code="model_not_found")
