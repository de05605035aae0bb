"""The command that runs, and the words that it was given, for who has to start it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class GivenWords(NamedTuple):
    """A command line.

    Attributes:
        command: its name.
        words: settings and flags, as they were typed.
    """

    command: str
    words: tuple[str, ...]


_given: ContextVar[GivenWords | None] = ContextVar("given", default=None)


@contextmanager
def running(command: str, words: Sequence[str]) -> Iterator[None]:
    """Within it `given_words` tells these."""
    token = _given.set(GivenWords(command, tuple(words)))
    try:
        yield
    finally:
        _given.reset(token)


def given_words() -> GivenWords | None:
    """Of the command that runs; `None` outside of one."""
    return _given.get()
