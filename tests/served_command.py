"""`python -m alignkit.serve` in a thread of this process: what it imports is here already.

The process itself, its log and its signals are tested in `tests/test_serve.py`.
"""

import importlib
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest
from waiting import get, joined, until


@contextmanager
def served(arguments):
    """The command on a port that is free; yields its address once it is ready."""
    from hydra.core.global_hydra import GlobalHydra

    from alignkit.serving import server

    build, listen, started = server.build_server, server.listen, []

    def building(*given):
        started.append(build(*given))
        return started[-1]

    def listening(*given):
        started.append(listen(*given))
        return started[-1]

    def command():
        with pytest.raises(SystemExit) as left:
            importlib.import_module("alignkit.serve").main()
        started.append(left.value.code)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(server, "build_server", building)
        patched.setattr(server, "listen", listening)
        patched.setattr(server, "SWITCH_INTERVAL_S", sys.getswitchinterval())
        patched.setattr(sys, "argv", ["alignkit serve", *arguments, "port=0"])
        thread = threading.Thread(target=command, daemon=True)
        thread.start()
        until(lambda: len(started) == 2 or not thread.is_alive())
    assert thread.is_alive(), "the command ended by itself"
    running, listener = started
    GlobalHydra.instance().clear()  # commands may run beside it
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        until(lambda: ready(address) or not thread.is_alive())
        yield address
    finally:
        words = sys.argv
        running.should_exit = True
        joined(thread)
        sys.argv = words  # which the command gave back as it had found them
    assert started[2:] == [0]


def ready(address):
    try:
        return get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False
