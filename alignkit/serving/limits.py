"""What a server accepts: per request, in the queue, and in connections."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.setting_rules import Rule, check, number_above, number_from, whole

# together with the refused ones, below the 512 sockets that Python's `select` can wait for on Windows
MOST_CONNECTIONS = 448
# so many clients past the limit are told so; any more are cut off
REFUSED_CONNECTIONS = 32
_COUNT = Rule(whole(1).fits, "a whole number of at least 1, without a unit")
_SECONDS = Rule(number_above(0).fits, "seconds, a number above 0 without a unit")
# of every number that `serve` takes, by its name on the command line
RULES = {
    **dict.fromkeys(("max_body_bytes", "max_texts", "max_characters"), _COUNT),
    **dict.fromkeys(("max_batch_texts", "max_queue_texts", "max_connections"), _COUNT),
    **dict.fromkeys(("body_timeout_s", "answer_timeout_s", "fallback_timeout_s", "grace_s"), _SECONDS),
    "batch_wait_ms": Rule(number_from(0).fits, "milliseconds, 0 or more"),
    "fallback_below": Rule(lambda value: number_from(0).fits(value) and value <= 1, "a confidence from 0 to 1"),
    "port": Rule(whole(0, 65535).fits, "0 to 65535"),
}


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_body_bytes: size of the request's body; more is 413.
        max_texts: texts per request; more is 422.
        max_characters: of all its texts together; more is 422.
        body_timeout_s: for the headers to arrive, then for the whole body; later is 408. A client that reads nothing of
            its answer for three times as long is cut off.
        answer_timeout_s: for the models to answer; later is 504.

    Raises:
        ConfigError: if a value is out of range.
    """

    max_body_bytes: int = 8 * 1024 * 1024
    max_texts: int = 2048
    max_characters: int = 2_000_000
    body_timeout_s: float = 20.0
    answer_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        check(vars(self), RULES)


@dataclass(frozen=True)
class Batching:
    """How requests share calls to the models; see `MicroBatcher`.

    Raises:
        ConfigError: if a value is out of range.
    """

    max_batch_texts: int = 256
    max_queue_texts: int = 8192
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        check({**vars(self), "batch_wait_ms": self.wait_ms}, RULES)
