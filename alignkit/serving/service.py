"""One head behind HTTP: what every API of the server asks for vectors."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from alignkit.errors import AlignkitError, ConfigError
from alignkit.serving.answers import Answer, Answerer
from alignkit.serving.batching import MicroBatcher
from alignkit.serving.faults import RequestFault
from alignkit.serving.intake import Limits
from alignkit.serving.metrics import ServerMetrics

logger = logging.getLogger(__name__)

MODEL_NAME = "alignkit"
# a header line longer than some 8000 bytes is refused by common clients
MOST_CONFIDENCES = 1000
# beyond so many numbers, writing JSON would hold up other requests
INLINE_NUMBERS = 100_000


@dataclass(frozen=True)
class Batching:
    """How requests share calls of the models; see `MicroBatcher`."""

    max_batch_texts: int = 256
    max_queue_texts: int = 8192
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.max_batch_texts < 1 or self.max_queue_texts < 1 or self.wait_ms < 0:
            raise ConfigError(
                f"max_batch_texts={self.max_batch_texts}, max_queue_texts={self.max_queue_texts}, "
                f"wait_ms={self.wait_ms}: expected at least 1, at least 1, and 0 or more"
            )


class Service:
    """Queue, limits and counters around an `Answerer`.

    Args:
        answerer: the models.
        model: the name that clients ask for.
        limits: of one request.
        batching: across requests.
        token: that clients must send as a bearer; None for an open server.
    """

    def __init__(
        self,
        answerer: Answerer,
        model: str = MODEL_NAME,
        limits: Limits = Limits(),  # noqa: B008
        batching: Batching = Batching(),  # noqa: B008
        token: str | None = None,
    ) -> None:
        self.answerer = answerer
        self.model = model
        self.limits = limits
        self.token = None if token is None else token.encode()
        weights = answerer.aligned.artifact.weights()
        self.head_bytes = len(weights)
        self.head_digest = hashlib.sha256(weights).hexdigest()
        self.warm = False
        self.draining = False
        self._batcher = MicroBatcher(
            answerer.answer,
            batching.max_batch_texts,
            batching.max_queue_texts,
            batching.wait_ms / 1000,
            on_batch=lambda texts: self.metrics.batch(texts),
        )
        self.metrics = ServerMetrics(lambda: self._batcher.queued_texts)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.answerer.dim

    async def warm_up(self) -> None:
        """Load the models with one text of their own; without an answer the server is up, but not ready."""
        try:
            answer = await self._batcher.submit(["ready"])
            self.warm = not answer.failures
        except AlignkitError as error:
            logger.warning("the student does not answer yet: %s", error)

    async def embed(self, texts: list[str]) -> Answer:
        """Vectors of checked texts.

        Raises:
            RequestFault: 502 if the models fail, 503 if the queue is full, 504 if the answer takes too long.
        """
        try:
            async with asyncio.timeout(self.limits.answer_timeout_s):
                answer = await self._batcher.submit(texts)
        except TimeoutError:
            raise RequestFault(
                504, f"the student took longer than {self.limits.answer_timeout_s:g} s", code="upstream_timeout"
            ) from None
        except AlignkitError as error:
            logger.warning("the student failed: %s", error)
            raise RequestFault(502, f"the student failed: {error}", code="upstream_error") from None
        if answer.failures:
            position = min(answer.failures)
            raise RequestFault(
                502,
                f"the student gave no vector for {len(answer.failures)} of {len(texts)} texts; "
                f"the first is input[{position}]: {answer.failures[position]}",
                param="input",
                code="upstream_error",
            )
        self.warm = True
        self.metrics.texts(len(texts), answer.teacher_texts)
        return answer

    async def close(self) -> None:
        """Finish what was taken and free the thread."""
        await self._batcher.close()


async def json_answer(make: Callable[[], Any], answer: Answer) -> Response:
    """A JSON response with what the answer tells beside the vectors.

    Args:
        make: builds the body; called in another thread where the vectors are many.
        answer: of the models.
    """

    def dump() -> bytes:
        return orjson.dumps(make(), option=orjson.OPT_SERIALIZE_NUMPY)

    body = dump() if answer.vectors.size <= INLINE_NUMBERS else await asyncio.to_thread(dump)
    headers = {}
    if answer.confidence is not None and len(answer.confidence) <= MOST_CONFIDENCES:
        headers["x-alignkit-confidence"] = ",".join(f"{value:.3f}" for value in answer.confidence.tolist())
    if answer.teacher_texts:
        headers["x-alignkit-teacher-texts"] = str(answer.teacher_texts)
    return Response(body, media_type="application/json", headers=headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A small JSON response."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json", headers=headers)


def estimated_tokens(texts: list[str]) -> int:
    """Tokens of the texts at four characters each: clients add them up, students do not tell them.

    >>> estimated_tokens(["reset my password", ""])
    5
    """
    return sum((len(text) + 3) // 4 for text in texts)
