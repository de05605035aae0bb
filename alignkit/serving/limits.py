"""What a server accepts: per request, in the queue, and in connections."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.errors import ConfigError
from alignkit.setting_rules import is_number, is_whole

# together with the refused ones, below the 512 sockets that Python's `select` can wait for on Windows
MOST_CONNECTIONS = 448
# so many clients past the limit are told so; any more are cut off
REFUSED_CONNECTIONS = 32


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
        check_counts(max_body_bytes=self.max_body_bytes, max_texts=self.max_texts, max_characters=self.max_characters)
        check_seconds(body_timeout_s=self.body_timeout_s, answer_timeout_s=self.answer_timeout_s)


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
        check_counts(max_batch_texts=self.max_batch_texts, max_queue_texts=self.max_queue_texts)
        if not is_number(self.wait_ms) or not 0 <= self.wait_ms < float("inf"):
            raise ConfigError(f"batch_wait_ms={self.wait_ms}: expected milliseconds, 0 or more")


def check_counts(**settings: object) -> None:
    """Check that settings are whole numbers of at least 1.

    Raises:
        ConfigError: naming the first that is not.
    """
    for name, value in settings.items():
        if not is_whole(value) or value < 1:  # type: ignore[operator]
            raise ConfigError(f"{name}={value}: expected a whole number of at least 1, without a unit")


def check_seconds(**settings: object) -> None:
    """Check that settings are finite numbers above 0.

    Raises:
        ConfigError: naming the first that is not.
    """
    for name, value in settings.items():
        if not is_number(value) or not 0 < value < float("inf"):  # type: ignore[operator]
            raise ConfigError(f"{name}={value}: expected seconds, a number above 0 without a unit")
