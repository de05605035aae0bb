"""What a part's settings are called where the user gives them: `base_url` in Python, `student.base_url` in a command.

A part does not know where it is mounted. Whoever mounts it builds it within `settings_under`, and its messages name
its settings as they have to be typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# what every command calls its two models, wherever in its config they stand
SIDES = ("student", "teacher")
# what stands at the top of a command's config and is handed to the data from there
MOUNTED = (*SIDES, "index")
_place: ContextVar[str] = ContextVar("place", default="")
# in a sentence of ours no other word is written so
_UNMISTAKABLE = re.compile(r"(?<![\w.])(?:base_url|api_key_env|first_timeout_s|timeout_s|batch_size|concurrency)\b")


@contextmanager
def settings_under(place: str) -> Iterator[None]:
    """Parts that are built in the block have their settings under `place`, such as `student`; "" for Python's own."""
    token = _place.set(f"{place}." if place else "")
    try:
        yield
    finally:
        _place.reset(token)


class SettingNames:
    """The names of a part's settings, fixed when the part is built.

    >>> with settings_under("teacher"):
    ...     names = SettingNames()
    >>> names("model"), names.in_words("give it longer with timeout_s")
    ('teacher.model', 'give it longer with teacher.timeout_s')
    """

    def __init__(self) -> None:
        self._place = _place.get()

    def __call__(self, name: str) -> str:
        """A setting as the user types it."""
        return f"{self._place}{name}"

    def in_words(self, words: str) -> str:
        """A sentence of ours about how a server is asked, with the settings in it as the user types them."""
        return _UNMISTAKABLE.sub(lambda found: self(found[0]), words)
