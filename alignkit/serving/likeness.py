"""How like the training texts those are that a server is asked for now, as gauges for an alarm."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque

import numpy as np

from alignkit.runs.training_sample import TrainingSample
from alignkit.serving.answers import Answer
from alignkit.serving.worker import Worker

logger = logging.getLogger(__name__)

# texts that a figure is the mean of: of 1,000 like the training some 10 are far, and 20 hardly ever
WINDOW = 1_000
# vectors that are compared with the sample, once a second: two milliseconds for 384 dimensions
MOST_COMPARED, EVERY_S = 16, 1.0


class Likeness:
    """The head's confidence in recent texts, and how many of them are far from the training texts.

    Args:
        sample: of the training; `None` where the head came without its run.
    """

    def __init__(self, sample: TrainingSample | None) -> None:
        self.sample = sample
        self._confidence: deque[float] = deque(maxlen=WINDOW)
        self._far: deque[bool] = deque(maxlen=WINDOW)
        self._drawn: list[np.ndarray] = []
        self._seen = 0  # vectors since the last comparison
        self._worker: Worker[np.ndarray, np.ndarray | None] = Worker(self._compare)

    @property
    def confidence(self) -> float:
        """Mean confidence of the head in the last texts, in [0, 1]; NaN before the first."""
        recent = list(self._confidence)
        return sum(recent) / len(recent) if recent else math.nan

    @property
    def unlike(self) -> float:
        """Share of recent texts farther from training than 99% of what was held out from it; NaN before the first."""
        recent = list(self._far)
        return sum(recent) / len(recent) if recent else math.nan

    @property
    def compared(self) -> float:
        """Texts that this share is of."""
        return float(len(self._far))

    def take(self, answer: Answer) -> None:
        """Count the texts of an answer, and draw some of their vectors."""
        if answer.confidence is not None:
            self._confidence.extend(answer.confidence[-WINDOW:].tolist())
        if self.sample is None or answer.student is None:
            return
        for row in range(len(answer.student)):
            # reservoir sampling (algorithm R, Vitter 1985): each of this second's vectors has the same chance
            self._seen += 1
            place = len(self._drawn) if len(self._drawn) < MOST_COMPARED else int(random.random() * self._seen)  # noqa: S311
            if place == len(self._drawn) < MOST_COMPARED:
                self._drawn.append(answer.student[row].copy())
            elif place < MOST_COMPARED:
                self._drawn[place] = answer.student[row].copy()

    async def run(self) -> None:
        """Compare what was drawn, once a second; runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._drawn:
                drawn, self._drawn, self._seen = np.stack(self._drawn), [], 0
                await self._compared(drawn)

    def close(self) -> None:
        """Let the thread end."""
        self._worker.end()

    async def _compared(self, drawn: np.ndarray) -> None:
        loop = asyncio.get_running_loop()
        compared = loop.create_future()

        def done(far: np.ndarray | None, error: BaseException | None) -> None:
            if far is not None:
                self._far.extend(far.tolist())
            elif error is not None:
                logger.error("likeness of recent texts: %s", type(error).__name__)
            if not compared.done():
                compared.set_result(None)

        self._worker.call(drawn, loop, done)
        await asyncio.shield(compared)

    def _compare(self, drawn: np.ndarray) -> np.ndarray | None:
        return None if self.sample is None else self.sample.far(drawn)
