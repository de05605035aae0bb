"""Why a request gets no vectors: a status, a sentence, and what else a client needs."""

from __future__ import annotations

from collections.abc import Mapping

from alignkit.errors import EmbedderError

# for requests while the models hang, when the end is not known
STUCK_RETRY_S = 10
REPLACED_RETRY_S = 30


class RequestFault(Exception):
    """Answered in the error format of the API that was called.

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
    """The models failed. The client learns what it can do; the server's log tells the operator the rest."""

    def __init__(self, error: Exception) -> None:
        brief = getattr(error, "brief", None)
        why = f" ({brief})" if brief else ""
        super().__init__(
            502, f"the model behind this server gave no vectors{why}; try again later", code="upstream_error"
        )


class ReplacedFault(RequestFault):
    """The student is not the one the head was trained for: its vectors would be wrong without any sign of it."""

    def __init__(self) -> None:
        super().__init__(
            503,
            "the model behind this server was replaced, and its vectors would not match earlier ones; "
            "the operator was told; try again later",
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
    """Too many texts are waiting."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many texts are waiting", retry_after_s)


class StuckFault(OverloadedFault):
    """The models are still busy with calls that took too long."""

    def __init__(self) -> None:
        super().__init__("the model is still busy with an earlier request that took too long", STUCK_RETRY_S)


class SharedCallError(EmbedderError):
    """The models failed on texts of several requests. Their message may quote any of these, so it is left out."""

    def __init__(self, cause: BaseException) -> None:
        self.brief = brief_of(cause)
        super().__init__(f"{self.brief}, for several requests at once; send the request again")


def brief_of(error: BaseException) -> str:
    """The part of a model's error that is safe to log and show; its message may hold texts."""
    return str(getattr(error, "brief", type(error).__name__))
