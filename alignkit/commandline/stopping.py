"""How a command is stopped from outside."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination_is_interruption() -> Iterator[None]:
    """Let SIGTERM (`kill`, the end of a container or a batch job) do what Ctrl-C does: keep what is done, and say so.

    Whoever waits for the process still sees that the signal ended it.
    """
    mine, got = os.getpid(), []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != mine:  # a forked worker is nobody's command
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        got.append(number)
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if got and os.name == "posix":
            sys.stdout.flush()
            sys.stderr.flush()
            os.kill(mine, signal.SIGTERM)
