"""The teacher for the queries that the head is least sure of, and never at the cost of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alignkit.serving.answers import Answer
from alignkit.serving.live_teacher import LiveTeacher


class Fallback:
    """Puts the teacher's vectors into answers; if it fails, is slow, pauses or was replaced, the head's own are kept.

    The teacher has its own queue and thread, so a query that the head is sure of never waits for it.

    Args:
        teacher: of the head.
        below: the confidence below which it is asked.
    """

    def __init__(self, teacher: LiveTeacher, below: float) -> None:
        self._teacher, self._below = teacher, below

    async def improve(self, texts: list[str], answer: Answer) -> Answer:
        """The same answer, with the teacher's vectors where the head is unsure."""
        if answer.confidence is None:
            return answer
        rows = [row for row in np.flatnonzero(answer.confidence < self._below).tolist() if row not in answer.failures]
        if not rows:
            return answer
        found, _ = await self._teacher.vectors([texts[row] for row in rows])
        given = {row: vector for row, vector in zip(rows, found, strict=True) if vector is not None}
        if not given:
            return answer
        vectors, by_teacher = answer.vectors.copy(), np.zeros(len(texts), dtype=bool)
        vectors[list(given)] = np.stack(list(given.values()))
        by_teacher[list(given)] = True
        return replace(answer, vectors=vectors, by_teacher=by_teacher)
