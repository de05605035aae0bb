"""What a server takes: of one request, of all that wait, of all who are connected."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.errors import ConfigError

# with those who are refused, below the 512 sockets that `select` of Python on Windows can wait for
MOST_CONNECTIONS = 448
# past the limit so many clients at once are told so; who comes beyond that is cut off
REFUSED_CONNECTIONS = 32


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_body_bytes: of the request's body; more is 413.
        max_texts: texts a request; more is 422.
        max_characters: of all its texts together; more is 422.
        body_timeout_s: for the headers to arrive, then for the whole body; later is 408. A client that takes nothing of
            its answer for thrice so long is cut off.
        answer_timeout_s: for the models to answer; later is 504.

    Raises:
        ConfigError: if one of them is not what it should be.
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
    """How requests share calls of the models; see `MicroBatcher`.

    Raises:
        ConfigError: if one of them is not what it should be.
    """

    max_batch_texts: int = 256
    max_queue_texts: int = 8192
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        check_counts(max_batch_texts=self.max_batch_texts, max_queue_texts=self.max_queue_texts)
        if not _is_number(self.wait_ms) or not 0 <= self.wait_ms < float("inf"):
            raise ConfigError(f"batch_wait_ms={self.wait_ms}: expected milliseconds, 0 or more")


def check_counts(**settings: object) -> None:
    """Hold settings to whole numbers of at least 1.

    Raises:
        ConfigError: naming the first that is none.
    """
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name}={value}: expected a whole number of at least 1, without a unit")


def check_seconds(**settings: object) -> None:
    """Hold settings to finite numbers above 0.

    Raises:
        ConfigError: naming the first that is none.
    """
    for name, value in settings.items():
        if not _is_number(value) or not 0 < value < float("inf"):  # type: ignore[operator]
            raise ConfigError(f"{name}={value}: expected seconds, a number above 0 without a unit")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
