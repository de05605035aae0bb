"""Ports of this machine for tests."""

import random
import socket


def quiet_port():
    """A port that is free, and that no other connection is given meanwhile: systems hand out higher ones."""
    for port in random.SystemRandom().sample(range(18_000, 32_000), 100):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a hundred ports are taken")


def deaf_port():
    """A port where nobody listens, now and as long as this process runs."""
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
    one.detach()  # bound until the end, so that nobody else can take it
    return port
