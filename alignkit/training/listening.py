"""Who listens to the validation figures of a run: a sweep, which may end one that is not promising."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from alignkit.errors import AlignkitError

# called with the passes over the training pairs so far and all figures by name; true where the run shall go on
Listener = Callable[[float, Mapping[str, float]], bool]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class NotPromisingError(AlignkitError):
    """Whoever listens wants no more of this run."""


@contextmanager
def listened_to_by(listener: Listener) -> Iterator[None]:
    """Within it every validation of a run with a folder is told to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(passes: float, figures: Mapping[str, float]) -> bool:
    """Tell a validation's figures; returns whether to go on."""
    listener = _listener.get()
    return listener is None or listener(passes, figures)
