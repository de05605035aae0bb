"""One part, done by whoever is its worker."""

from __future__ import annotations

import time

from alignkit.workers.base import Do, Finished, Part, in_one_line


def done_by(do: Do, part: Part, worker: str, raising: type[Exception] | tuple[type[Exception], ...] = ()) -> Finished:
    """Do one part; whatever goes wrong is its fault, in one line, but for what the engine wants raised."""
    started = time.monotonic()
    try:
        result = do(part)
    except raising:
        raise
    except Exception as error:
        return Finished(part.number, worker, time.monotonic() - started, fault=in_one_line(error))
    return Finished(part.number, worker, time.monotonic() - started, result)


def close(do: Do | None) -> None:
    """Let go of what a work has opened."""
    getattr(do, "close", lambda: None)()
