"""What a command prints: its encoding, its log, and a reader that goes away."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence

from alignkit.credentials import redacted

# all but tab and line feed
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def use_utf8() -> None:
    """A Windows console's code page cannot print every sentence."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def set_up_logging(secrets: Sequence[str] = ()) -> None:
    """Send alignkit's own messages to stderr, others' only from WARNING on; keys and the given secrets starred out."""
    handler = _Unfolded()
    handler.addFilter(_Redacting(secrets))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("alignkit").setLevel(logging.INFO)
    logging.captureWarnings(True)  # other libraries' deprecations are for developers, who run the tests
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """Let `… | head` end a command in peace: what nobody reads is dropped, also when Python flushes at its end."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # Windows says "invalid argument" of a pipe whose reader is gone
        if not isinstance(error, BrokenPipeError) and not (os.name == "nt" and error.errno == errno.EINVAL):
            raise
        stop_printing()


def stop_printing() -> None:
    """Print to nowhere from now on."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: no real file is behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def without_controls(text: str) -> str:
    r"""A text that no terminal obeys: names out of files may be anything.

    >>> without_controls("model \x1b[31mred\tand\n\x9bblue")
    'model [31mred\tand\nblue'
    """
    return _CONTROLS.sub("", text)


class _Unfolded(logging.Handler):
    """One line a message, however long: a command in it can be copied as a whole."""

    def emit(self, record: logging.LogRecord) -> None:
        # looked up now: a progress bar puts a stream of its own there, which prints above the bar
        sys.stderr.write(f"{self.format(record)}\n")


class _Redacting(logging.Filter):
    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_controls(redacted(record.getMessage(), self._secrets)), ()
        return True
