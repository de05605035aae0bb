"""What LanceDB refuses, in one line; it raises several kinds of errors, with a place in its own source behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from alignkit.errors import EngineError

_SOURCE = re.compile(r",? *(?:location: )?\S*/src/\S*\.rs:\d+:\d+.*")
_FULL = ("No space left", "ENOSPC", "StorageFull", "os error 28", "File too large", "os error 27")
_OTHERS = ("conflict", "Too many concurrent writers", "already exists")


@contextmanager
def lance_refusals() -> Iterator[None]:
    """Turn its errors into ours; also a decorator, but not of a generator.

    Raises:
        EngineError: if it refuses.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, NotImplementedError) as error:
        whole = str(error).strip() or type(error).__name__
        said, fix = _SOURCE.sub("", whole.splitlines()[0]), ""
        if any(one in whole for one in _FULL):
            fix = "; free some space, then run the same command again: it continues"
        elif any(one in whole for one in _OTHERS):
            fix = "; another process changes the table; when it is done, run the same command again: it continues"
        raise EngineError(f"LanceDB: {said}{fix}") from None
