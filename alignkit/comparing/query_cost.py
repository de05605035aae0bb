"""What a query costs a run, all of them measured on this CPU, one after the other."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from alignkit.artifact import QUERY_HEAD, Artifact, load_artifact
from alignkit.comparing.finished_run import FinishedRun
from alignkit.embedders.base import Embedder, embed_all, weights_mb
from alignkit.errors import AlignkitError
from alignkit.heads.stored_parts import StoredParts

# the fastest of many short rounds: whatever else runs on the machine only makes one slower
ROUNDS, CALLS, LONGEST_S = 50, 20, 0.2
# what people ask, of the lengths that are usual
TEXTS = (
    "how do i reset my password",
    "what is the balance of my savings account",
    "please move my appointment from tuesday to friday morning",
    "which plug do they use in japan",
    "the invoice for last month was sent to the wrong address, can you correct it",
    "set an alarm",
)
MakeStudent = Callable[[FinishedRun, Artifact], Embedder | None]


@dataclass(frozen=True)
class StudentCost:
    """What embedding one query costs.

    Attributes:
        us: microseconds; `None` where that was not timed.
        weights: bytes in the memory of this process; `None` where the model is elsewhere.
        said: where it was timed, or why it was not.
    """

    us: float | None
    weights: int | None
    said: str


@dataclass(frozen=True)
class QueryCost:
    """What one query costs: embedding it, and its way through the head.

    Attributes:
        head_us: microseconds of the head alone.
        head_bytes: its weights.
        student: the same of the student.
    """

    head_us: float
    head_bytes: int
    student: StudentCost

    @property
    def us(self) -> float | None:
        """Both together; `None` where the student was not timed."""
        return None if self.student.us is None else self.student.us + self.head_us


class Costs:
    """Measures runs; a student that several of them share is timed once.

    Args:
        make_student: gives a run's student, to be timed and closed, or `None` where there is none to be had here;
            `None` times no student.
    """

    def __init__(self, make_student: MakeStudent | None) -> None:
        self._make_student = make_student
        self._students: dict[str, StudentCost] = {}

    def of(self, run: FinishedRun) -> QueryCost | None:
        """Of one run; `None` where its head is not there any more.

        Raises:
            ArtifactError: if the head is damaged.
        """
        if run.head is None:
            return None
        artifact = load_artifact(run.head)
        query = np.random.default_rng(0).standard_normal((1, artifact.student_dim)).astype(np.float32)
        seconds = _fastest_s(lambda: artifact.align(query))
        return QueryCost(1e6 * seconds, _bytes_of(artifact), self._student(run, artifact))

    def _student(self, run: FinishedRun, artifact: Artifact) -> StudentCost:
        identity = artifact.student_identity
        if identity is None:
            return StudentCost(None, None, "which student made the vectors is not known")
        key = json.dumps(identity, sort_keys=True, default=str)
        if key not in self._students:
            self._students[key] = self._timed(run, artifact)
        return self._students[key]

    def _timed(self, run: FinishedRun, artifact: Artifact) -> StudentCost:
        name = str((artifact.student_identity or {}).get("model"))
        if self._make_student is None:
            return StudentCost(None, None, f"{name}: not timed, as asked")
        try:
            student = self._make_student(run, artifact)
            if student is None:
                return StudentCost(None, None, f"{name}: not timed, it does not run in this process")
            with closing(student):
                embed_all(student, TEXTS[:1], "query")  # the first call may load the model
                each = [_fastest_s(lambda text=text: embed_all(student, [text], "query")) for text in TEXTS]  # type: ignore[misc]
                mb = weights_mb(student)
        except AlignkitError as error:
            return StudentCost(None, None, f"{name}: not timed, {error}")
        return StudentCost(1e6 * float(np.median(each)), None if mb is None else round(mb * 1e6), "this CPU")


def _fastest_s(call: Callable[[], object]) -> float:
    """Seconds of one call: the mean of a round of calls, of the fastest round."""
    call()
    started, best = time.perf_counter(), math.inf
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - begun) / CALLS)
        if time.perf_counter() - started > LONGEST_S:
            break
    return best


def _bytes_of(artifact: Artifact) -> int:
    """Of the head that queries go through: a whitening is folded into it."""
    if isinstance(parts := artifact.parts, StoredParts):
        return sum(array.nbytes for name, array in parts.tensors().items() if name.startswith(f"{QUERY_HEAD}."))
    return sum(one.nbytes for one in artifact.query_head.state_dict().values())


def student_notes(costs: Sequence[QueryCost]) -> list[str]:
    """Why a student has no time, each reason once."""
    return list(dict.fromkeys(cost.student.said for cost in costs if cost.student.us is None))
