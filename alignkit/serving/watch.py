"""Whether a model is still the intended one: its server is asked from time to time, apart from requests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Sequence

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import Embedder, current_identity
from alignkit.embedders.sameness import differences
from alignkit.errors import AlignkitError
from alignkit.serving.canary import Canary
from alignkit.serving.worker import Worker

logger = logging.getLogger(__name__)

EVERY_S = 30.0
# while it is another model, so that whoever fixes it need not wait
WRONG_EVERY_S = 5.0
# for a request on a new connection to the server; after that the last answer holds
LONGEST_LOOK_S = 2.0


class Watch:
    """Asks in its own thread, one question at a time. While there is no answer, the last one holds.

    Args:
        model: its name in the log: the student, the teacher.
        changes: asks how the model differs from before, in words, empty for no difference. Raises
            `AlignkitError` if that cannot be told now.
        connections: returns how many were opened to the model's server; a new one may lead to another server.
        advice: for the operator, if it is another model.
        refuses: whether another model is a reason to refuse requests; otherwise it is only logged.
    """

    def __init__(
        self,
        model: str,
        changes: Callable[[], Sequence[str]],
        connections: Callable[[], int],
        advice: str,
        refuses: bool = True,
    ) -> None:
        self._model = model
        self._connections = connections
        self._advice = advice
        self._refuses = refuses
        self._changes = changes
        self._worker: Worker[None, Sequence[str]] | None = None
        self._looking: asyncio.Future[None] | None = None
        self._seen = 0  # connections that a look covered, or that an answer waited for in vain
        self._found: tuple[str, ...] = ()
        self._told = True

    @property
    def replaced(self) -> bool:
        """Whether it is another model, whose vectors must not be used."""
        return self._refuses and bool(self._found)

    async def run(self) -> None:
        """Look at intervals; runs until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(WRONG_EVERY_S if self._found else EVERY_S)

    async def after_answer(self) -> None:
        """Look briefly, if the answer may have come from a different server than before."""
        opened = self._connections()
        # the look that is under way may have begun before the connection was opened
        for _ in range(2):
            if self._seen < opened:
                await self.look_briefly()
        # where the server cannot be asked, one answer that waited is enough
        self._seen = max(self._seen, opened)

    async def look_briefly(self) -> None:
        """Look; if that takes long, go on with what was known."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_LOOK_S):
                await self._look()

    def close(self) -> None:
        """Let the thread end."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    async def _look(self) -> None:
        if self._looking is None:
            if self._worker is None:
                self._worker = Worker(lambda _: self._changes())
            loop = asyncio.get_running_loop()
            self._looking = loop.create_future()
            self._worker.call(None, loop, functools.partial(self._take, self._connections()))
        # several requests may wait for one look, and one of them may give up
        await asyncio.shield(self._looking)

    def _take(self, opened: int, found: Sequence[str] | None, error: BaseException | None) -> None:
        if error is None:
            self._seen = max(self._seen, opened)
            self._note(tuple(found or ()))
        elif self._told:
            words = str(error) if isinstance(error, AlignkitError) else type(error).__name__
            logger.warning("cannot tell whether %s is still the same: %s", self._model, words)
        self._told = error is None
        if self._looking is not None:
            self._looking.set_result(None)
            self._looking = None

    def _note(self, found: tuple[str, ...]) -> None:
        if found and found != self._found:
            logger.error("%s was replaced (%s); %s", self._model, "; ".join(found), self._advice)
        elif self._found and not found:
            logger.warning("%s is the original one again", self._model)
        self._found = found


def watch_student(aligned: AlignedEmbedder, allow_mismatch: bool) -> Watch:
    """Watches the student that the head was trained for."""
    advice = (
        "going on, because allow_student_mismatch=true"
        if allow_mismatch
        else "requests get 503 until the original model is back; restore it, or start the server with "
        "allow_student_mismatch=true to go on with this one"
    )
    connections = _connections_of(aligned.student)
    canary = Canary(aligned.student, connections)

    def changes() -> list[str]:
        return aligned.changes_of_student() or canary.changes()

    return Watch("the student", changes, connections, advice, refuses=not allow_mismatch)


def watch_teacher(teacher: Embedder) -> Watch:
    """Watches the teacher that is asked live."""
    connections = _connections_of(teacher)
    canary = Canary(teacher, connections)

    def changes() -> list[str]:
        return differences(teacher.identity("query"), current_identity(teacher, "query")) or canary.changes()

    advice = "the head's own vectors are used until the original one is back"
    return Watch("the teacher", changes, connections, advice)


def _connections_of(embedder: Embedder) -> Callable[[], int]:
    return lambda: getattr(embedder, "connections_made", 0)
