"""How tests wait: for what happens, and for so long that only a hang takes longer, however busy the machine is."""

import functools
import time

import httpx

HANG_S = 240


def until(condition, process=None):
    """Wait until `condition()` is true, which is then returned.

    Args:
        condition: looks, without waiting itself.
        process: that must not end meanwhile.
    """
    deadline = time.monotonic() + HANG_S
    while not (found := condition()):
        assert process is None or process.poll() is None, f"the process ended with {process.poll()}"
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return found


def joined(*threads):
    """Wait for threads to end."""
    for thread in threads:
        thread.join(HANG_S)
        assert not thread.is_alive()


# httpx gives up after five seconds; where nothing is encrypted, reading the system's certificates costs the most
_PLAIN = {"timeout": HANG_S, "verify": False, "trust_env": False}
get = functools.partial(httpx.get, **_PLAIN)
head = functools.partial(httpx.head, **_PLAIN)
post = functools.partial(httpx.post, **_PLAIN)
Client = functools.partial(httpx.Client, **_PLAIN)


def answers(url):
    """Whether something answers there by HTTP."""
    try:
        get(url)
    except httpx.TransportError:
        return False
    return True
