"""The translations: a folder of TOML files for each language, where an English sentence is the key."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Catalogue:
    """The sentences of one language.

    Attributes:
        messages: English template → template, of what reports say themselves.
        facts: English pattern → template, of what lower rooms write down. A field stands for any text.
    """

    messages: Mapping[str, str]
    facts: Mapping[str, str]


@functools.cache
def catalogue(language: str) -> Catalogue:
    """All files of a language other than English."""
    messages: dict[str, str] = {}
    facts: dict[str, str] = {}
    for path in files_of(language):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        messages |= tables.get("messages", {})
        facts |= tables.get("facts", {})
    return Catalogue(messages, facts)


def files_of(language: str) -> list[Path]:
    """The files that hold a language, in order."""
    return sorted((Path(__file__).parent / language).glob("*.toml"))
