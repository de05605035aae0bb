"""A call to an engine's server, made again while the server is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from alignkit.errors import AlignkitError

T = TypeVar("T")
WAITS_S: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


class ServerAway(Exception):
    """A call failed that may go through later.

    Args:
        error: to raise if it never does.
    """

    def __init__(self, error: AlignkitError) -> None:
        super().__init__(str(error))
        self.error = error


def called_again(call: Callable[[], T], waits_s: Sequence[float]) -> T:
    """What the call returns; after `ServerAway` it is made again, once after each of the waits.

    Raises:
        AlignkitError: that of the last `ServerAway`; other errors are the call's own.
    """
    for wait in waits_s:
        try:
            return call()
        except ServerAway:
            time.sleep(wait)
    try:
        return call()
    except ServerAway as away:
        raise away.error from None
