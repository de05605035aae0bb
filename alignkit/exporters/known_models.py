"""What packaged models are called on the Hub, and under which licence they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class KnownModel(NamedTuple):
    """A model that others know.

    Attributes:
        hub_name: `user/repo` there.
        licence: as the Hub calls it; None where only its own page tells.
    """

    hub_name: str
    licence: str | None


# how an identity calls it
_PACKAGED = {
    "all-MiniLM-L6-v2": KnownModel("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    "l2_supercat_256": KnownModel("dleemiller/word-llama-l2-supercat", "mit"),
}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def known_model(identity: Mapping[str, Any] | None) -> KnownModel | None:
    """The model on the Hub that an identity is of; None where it is a folder of somebody's, or behind a server."""
    known = identity or {}
    name = str(known.get("model"))
    if name in _PACKAGED:
        return _PACKAGED[name]
    of_the_hub = known.get("backend") == "sentence_transformer" and _HUB_NAME.fullmatch(name)
    return KnownModel(name, None) if of_the_hub else None


def name_of(identity: Mapping[str, Any] | None) -> str:
    """A model in words."""
    known = identity or {}
    name = str(known.get("model") or known.get("backend") or "an unnamed model")
    # a student cut out of its teacher goes by the teacher's name
    return f"{name} ({known['layers']} layers)" if known.get("layers") else name
