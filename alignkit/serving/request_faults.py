"""Why a request is not answered with vectors: a status, a sentence, and what a client needs beside it."""

from __future__ import annotations

from collections.abc import Mapping

from alignkit.errors import EmbedderError

# for who comes while the models hang: how long that lasts is not known
STUCK_RETRY_S = 10
REPLACED_RETRY_S = 30


class RequestFault(Exception):
    """Answered in the envelope of the API that was asked.

    Args:
        status: HTTP status.
        message: one line for the caller; never holds the request's texts.
        param: which field of the request is wrong.
        code: a word that programs can test.
        headers: to send along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


class UpstreamFault(RequestFault):
    """The models failed. The client hears what it can do; what the operator can do stands in the server's log."""

    def __init__(self, error: Exception) -> None:
        brief = getattr(error, "brief", None)
        why = f" ({brief})" if brief else ""
        super().__init__(
            502, f"the model behind this server gave no vectors{why}; try again later", code="upstream_error"
        )


class ReplacedFault(RequestFault):
    """The student is another one than the head's: its vectors would be wrong without a sign of it."""

    def __init__(self) -> None:
        super().__init__(
            503,
            "the model behind this server was replaced, so that vectors would not fit those of before; "
            "its operator was told; try again later",
            code="model_replaced",
            headers={"retry-after": str(REPLACED_RETRY_S)},
        )


class OverloadedFault(RequestFault):
    """The server cannot take the request now; the client should come back in `retry_after_s` seconds."""

    def __init__(self, reason: str, retry_after_s: int, headers: Mapping[str, str] | None = None) -> None:
        self.brief = reason
        super().__init__(
            503,
            f"{reason}; try again in {retry_after_s} s",
            code="overloaded",
            headers={"retry-after": str(retry_after_s), **(headers or {})},
        )


class QueueFullFault(OverloadedFault):
    """More texts wait than may."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the server has more texts waiting than it takes", retry_after_s)


class StuckFault(OverloadedFault):
    """The models are still busy with calls that were given up."""

    def __init__(self) -> None:
        super().__init__("the model is still busy with an earlier request that took too long", STUCK_RETRY_S)


class SharedCallError(EmbedderError):
    """The models failed on the texts of several requests; their words may repeat any of these, so they are left out."""

    def __init__(self, cause: BaseException) -> None:
        self.brief = brief_of(cause)
        super().__init__(f"{self.brief}, for several requests at once; send it again")


def brief_of(error: BaseException) -> str:
    """What may be logged and shown to anybody of an error of the models: their own words may hold texts."""
    return str(getattr(error, "brief", type(error).__name__))
