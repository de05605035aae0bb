"""One head behind HTTP: where every API of the server gets its vectors."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from alignkit.errors import AlignkitError, EmbedderError
from alignkit.runs.training_sample import TrainingSample
from alignkit.serving.answers import Answer, Answerer, most_hung
from alignkit.serving.batching import MicroBatcher
from alignkit.serving.fallback import Fallback
from alignkit.serving.index_pool import IndexPool
from alignkit.serving.index_search import Search
from alignkit.serving.intake import MOST_LARGE_BODIES, Bodies, full_texts
from alignkit.serving.likeness import Likeness
from alignkit.serving.limits import RULES, Batching, Limits
from alignkit.serving.live_teacher import LiveTeacher
from alignkit.serving.metrics import ServerMetrics
from alignkit.serving.names import ServedNames
from alignkit.serving.query_log import QueryLog
from alignkit.serving.readiness import Readiness
from alignkit.serving.request_faults import ReplacedFault, RequestFault, UpstreamFault, brief_of
from alignkit.serving.student_rows import StudentRows
from alignkit.serving.token_texts import TokenTexts
from alignkit.serving.vector_json import as_json
from alignkit.serving.watch import watch_student
from alignkit.setting_rules import check

logger = logging.getLogger(__name__)

MODEL_NAME = "alignkit"
# common clients refuse a header line longer than about 8000 bytes
MOST_CONFIDENCES = 1000


class Service:
    """Queue, limits and counters around an `Answerer`.

    Args:
        answerer: the models.
        model: the name that clients ask for.
        limits: of one request.
        batching: across requests.
        token: the bearer token that clients must send; None for an open server.
        fallback_timeout_s: for the teacher to answer; later the head's own vector is used.
        allow_student_mismatch: if the student is replaced while it is served, log it and go on.
        page: what a browser is shown beside searches, the run's report or nothing; `None` for no page at all.
        served_names: further names that clients may ask for.
    """

    def __init__(
        self,
        answerer: Answerer,
        model: str = MODEL_NAME,
        limits: Limits = Limits(),  # noqa: B008
        batching: Batching = Batching(),  # noqa: B008
        token: str | None = None,
        fallback_timeout_s: float = 5.0,
        allow_student_mismatch: bool = False,
        page: Mapping[str, Any] | None = None,
        served_names: Sequence[str] = (),
    ) -> None:
        check({"fallback_timeout_s": fallback_timeout_s}, RULES)
        self.answerer = answerer
        self.names = ServedNames(model, served_names)
        self.model = model
        self.token_texts = TokenTexts(limits.max_characters)
        self.page = page
        self.limits = limits
        self.token = None if token is None else token.encode()
        weights = answerer.aligned.artifact.weights()
        self.head_bytes = len(weights)
        self.head_digest = hashlib.sha256(weights).hexdigest()
        self.bodies = Bodies(MOST_LARGE_BODIES * limits.max_body_bytes)
        self.draining = False
        self.listeners: Sequence[socket.socket] = ()
        self.metrics = ServerMetrics(lambda: self._batcher.queued_texts)
        sizes = batching.max_batch_texts, batching.max_queue_texts
        self._batcher = MicroBatcher(
            answerer.answer,
            *sizes,
            wait_s=batching.wait_ms / 1000,
            call_timeout_s=limits.answer_timeout_s,
            most_hung=most_hung(answerer.aligned.student),
            may_hold_loop=answerer.is_look_up,
            on_batch=self.metrics.batch,
        )
        teacher, below = answerer.teacher, answerer.fallback_below
        self.teacher = (
            None if teacher is None else LiveTeacher(answerer.ask_teacher, teacher, fallback_timeout_s, *sizes)
        )
        self._fallback = None if self.teacher is None or below is None else Fallback(self.teacher, below)
        self.search: Search | None = None
        self.query_log: QueryLog | None = None
        self.likeness: Likeness | None = None
        self.readiness = Readiness(self._probe)
        self.student_watch = watch_student(answerer.aligned, allow_student_mismatch)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.answerer.dim

    @property
    def busy(self) -> bool:
        """Whether a model is busy, even with a request that was given up."""
        return (
            self._batcher.busy
            or (self.teacher is not None and self.teacher.busy)
            or (self.search is not None and self.search.pool.busy)
        )

    def serve_index(self, pool: IndexPool, candidates: int = 100) -> None:
        """Also search an index; the answerer must keep the student's vectors.

        Args:
            pool: that has the index.
            candidates: that the head finds for the teacher to put in order, where that is asked for.
        """
        rows, below = StudentRows(self.answerer, pool), self.answerer.fallback_below if self._fallback else None
        self.search = Search(self.by_head, pool, rows, self.teacher, below, candidates)

    def keep_queries(self, log: QueryLog) -> None:
        """Also keep a share of the texts."""
        log.on_written = self.metrics.logged
        self.query_log = log

    def compare_with(self, sample: TrainingSample | None) -> None:
        """Also tell how like the training recent texts are; the answerer must keep the student's vectors.

        Args:
            sample: of the training; `None` leaves the head's confidence, where it estimates that.
        """
        self.likeness = Likeness(sample)
        self.metrics.show(self.likeness, self.answerer.aligned.estimates_confidence)

    async def embed(self, texts: list[str], path: str, param: str = "input") -> Answer:
        """Vectors of texts, by the teacher where the head is unsure and a teacher may be asked.

        A blank text has the same vector as every other: one among many must not cost a client the rest. OpenAI and
        Ollama both have a vector for it, too: LangChain asks for that of "".

        Args:
            texts: of one request.
            path: that was asked.
            param: the field that holds them.

        Raises:
            RequestFault: 400 for a text that is no valid Unicode; else as `by_head`.
        """
        full = full_texts(texts, param, blank=True)
        if 0 < len(full) == len(texts):
            return await self._embed_full(texts, path)
        if full:
            answer = await self._embed_full([texts[row] for row in full], path)
        else:
            answer = Answer(np.empty((0, self.dim), dtype=np.float32), {}, None)
        return answer.spread(full, len(texts), self.answerer.blank_vector)

    async def _embed_full(self, texts: list[str], path: str) -> Answer:
        answer = await self.by_head(texts)
        if self._fallback is not None:
            answer = await self._fallback.improve(texts, answer)
        self.metrics.texts(len(texts), answer.teacher_texts)
        if self.query_log is not None:
            self.query_log.take(texts, path, "head", answer.confidence, answer.by_teacher)
        return answer

    async def by_head(self, texts: list[str]) -> Answer:
        """The head's vectors of checked texts.

        Raises:
            RequestFault: 422 if the student refuses a text, 502 if it fails, 503 if the queue is full or the student
                was replaced, 504 if the answer takes too long. Its words are for the client; the operator's are logged.
        """
        answer = await self._ask_student(texts)
        if answer.failures:
            # embedders blame single texts only if others have vectors; sent again, the text would fail again
            position = min(answer.failures)
            raise RequestFault(
                422,
                f"the model refuses {len(answer.failures)} of {len(texts)} texts; "
                f"the first is input[{position}]: {answer.failures[position]}",
                param="input",
                code="text_refused",
            )
        if self.likeness is not None:
            self.likeness.take(answer)
        return answer

    async def _ask_student(self, texts: list[str]) -> Answer:
        if self.student_watch.replaced:
            raise ReplacedFault()
        try:
            async with asyncio.timeout(self.limits.answer_timeout_s):
                answer = await self._batcher.submit(texts)
        except TimeoutError:
            self._failed(f"no answer within {self.limits.answer_timeout_s:g} s")
            raise RequestFault(
                504, f"the model took longer than {self.limits.answer_timeout_s:g} s", code="upstream_timeout"
            ) from None
        except AlignkitError as error:
            self._failed(brief_of(error))
            raise UpstreamFault(error) from None
        await self.student_watch.after_answer()
        if self.student_watch.replaced:
            raise ReplacedFault()
        self.readiness.answered()
        return answer

    def _failed(self, brief: str) -> None:
        # logged once, not for each request; the probe that follows logs the whole message
        if self.readiness.ready:
            logger.warning("the student failed: %s", brief)
        self.readiness.failed()

    async def watch(self) -> None:
        """Watch the models; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.readiness.watch())
            group.create_task(self.student_watch.run())
            if self.teacher is not None:
                group.create_task(self.teacher.watch.run())
            for part in (self.query_log, self.likeness):
                if part is not None:
                    group.create_task(part.run())

    async def close(self) -> None:
        """Finish the accepted requests and end the threads."""
        self.student_watch.close()
        await self._batcher.close()
        if self.teacher is not None:
            await self.teacher.close()
        if self.search is not None:
            self.search.close()
        if self.likeness is not None:
            self.likeness.close()
        if self.query_log is not None:
            await self.query_log.close()

    async def _probe(self) -> None:
        async with asyncio.timeout(self.limits.answer_timeout_s):
            answer = await self._batcher.submit(["ready"], alone=True)
        if answer.failures:
            raise EmbedderError(answer.failures[0])
        # a server that is back may have another model
        await self.student_watch.look_briefly()


def json_answer(content: Any, answer: Answer) -> Response:
    """A JSON response, vectors included, whose headers tell the rest of the answer."""
    headers = {"content-type": "application/json"}
    if answer.confidence is not None and len(answer.confidence) <= MOST_CONFIDENCES:
        headers["x-alignkit-confidence"] = ",".join(f"{value:.3f}" for value in answer.confidence.tolist())
    if answer.teacher_texts:
        headers["x-alignkit-teacher-texts"] = str(answer.teacher_texts)
    return Response(as_json(content), headers=headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A small JSON response."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json", headers=headers)


def estimated_tokens(texts: list[str]) -> int:
    """Tokens of the texts, at four characters each: clients expect a number, and students do not report one.

    >>> estimated_tokens(["reset my password", ""])
    5
    """
    return sum((len(text) + 3) // 4 for text in texts)
