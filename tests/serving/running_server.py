"""A service behind a real socket, in a thread of this process."""

import threading
from contextlib import contextmanager

from waiting import joined, until

from alignkit.serving.server import build_server, listen


@contextmanager
def running(service, wait_until_ready=True, grace_s=5, **limits):
    """The service behind a real socket, in a thread; yields its address."""
    server, listener = build_server(service, grace_s, **limits), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started and (service.readiness.ready or not wait_until_ready))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        joined(thread)
