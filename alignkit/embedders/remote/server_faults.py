"""What can go wrong with one request, grouped by how to handle it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Self

from alignkit.errors import EmbedderError
from alignkit.setting_rules import check, number_from, whole

# the cause may be a text or transient: this many attempts decide
SUSPECT_ATTEMPTS = 3
LOOK_AT_LOG = "see the server's log"
GIVE_TIME = "give it longer with timeout_s, or less at once with batch_size and concurrency"
GIVE_LESS = "give it less at once with batch_size and concurrency"


class TextFault(Exception):
    """The server refuses the batch because of a text in it; that text has to be found.

    Args:
        reason: what was refused, or what is wrong with the answer.
        mend: what the user can do if no text is at fault.
        brief: the reason without the server's words.
    """

    def __init__(self, reason: str, mend: str = "", brief: str = "no usable vector") -> None:
        super().__init__(reason)
        self.mend = mend
        self.brief = brief


class ShapeFault(TextFault):
    """The answer does not belong to this API: the address may be another program's."""


class TransientFault(Exception):
    """A fault that may pass by itself: retry after a while.

    Args:
        brief: what happened, in about 25 characters of our own, for the log.
        words: the server's own, which may repeat the texts sent to it.
        wait_s: how long the server asks to wait.
        attempts: maximum for this fault.
        mend: what the user can do if it persists.
        loading: whether the server is loading its model, which may take minutes.
        after: with `attempts`, the fault it becomes once they are used up.
    """

    def __init__(
        self,
        brief: str,
        words: str = "",
        wait_s: float | None = None,
        attempts: int | None = None,
        mend: str = LOOK_AT_LOG,
        loading: bool = False,
        after: type[TextFault] | None = None,
    ) -> None:
        super().__init__(f"{brief}: {words}" if words else brief)
        self.after = after or TextFault
        self.brief = brief
        self.wait_s = wait_s
        self.attempts = attempts
        self.mend = mend
        self.loading = loading


class GoneFault(TransientFault):
    """Nothing listens at the server's address any more."""


class SilentFault(TransientFault):
    """The server accepted the request but did not answer in time: it is busy, or it hangs."""


class MisfitFault(TextFault):
    """The answer to several texts does not match them: wrong number of vectors, or several widths."""


class TooLargeFault(Exception):
    """The batch is too large for the server; `most_texts` is its limit, if it states one."""

    def __init__(self, reason: str, most_texts: int | None = None) -> None:
        super().__init__(reason)
        self.most_texts = most_texts
        self.brief = "too large"


class ServerError(EmbedderError):
    """No text is at fault and no retry helps; `brief` says why without the server's words."""

    def __init__(self, message: str, brief: str) -> None:
        super().__init__(message)
        self.brief = brief


class StatusError(ServerError):
    """The server answered, and no retry will change the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, f"HTTP {status}")
        self.status = status


@dataclass(frozen=True)
class Backoff:
    """Exponential waits with jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

    Attributes:
        attempts: requests per batch, including the first.
        first_s: upper bound of the first wait.
        longest_s: upper bound of every wait, whatever the server asks for.
    """

    attempts: int = 6
    first_s: float = 0.5
    longest_s: float = 60.0

    @classmethod
    def of(cls, retries: int, retry_wait_s: float) -> Self:
        """As the settings of that name ask.

        Raises:
            ConfigError: for a setting that is no number of its kind.
        """
        check({"retries": retries, "retry_wait_s": retry_wait_s}, {"retries": whole(0), "retry_wait_s": number_from(0)})
        return cls(attempts=retries + 1, first_s=retry_wait_s)

    def wait_s(self, failed: int, asked_s: float | None) -> float:
        """How long to wait after the `failed`-th failure in a row (from 1); `asked_s` is what the server asked for."""
        jitter = random.uniform(0.5, 1.0)  # does not affect results: it only spreads requests in time
        own_s = self.first_s * 2 ** min(failed - 1, 16) * jitter
        return min(self.longest_s, own_s if asked_s is None else asked_s + self.first_s * jitter * 0.1)
