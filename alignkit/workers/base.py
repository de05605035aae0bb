"""What a job in parts is made of, and what every engine that does the parts promises.

Each engine is one file of this room and one YAML in `conf/engine/`. An engine does parts and nothing else: which parts
there are, and which of them are done, is in a `Manifest`; what a part means is in a `Work`. The very same work runs in
this process, in a pool of processes, and on a cluster.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from alignkit.credentials import redacted
from alignkit.errors import AlignkitError

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

# a few plain JSON values about a part, such as how many of its rows are zero
Result = dict[str, Any]
_MOST_NAMED = 3


@dataclass(frozen=True)
class Part:
    """One part of a job.

    Attributes:
        number: its own, from 0 on; it never changes, whoever does the part.
        settings: what it covers, as plain JSON values without secrets: `{"first": 0, "rows": 65536}`.
        size: in units of progress, such as rows.
    """

    number: int
    settings: dict[str, Any]
    size: int = 1


# does one part; its output appears under its final name, whole or not at all, and doing it twice changes nothing
Do = Callable[[Part], Result]


class Work(abc.ABC):
    """What is done with a part. It is pickled to get to its workers, secrets included, so it holds settings, no models.

    Attributes:
        name: of the job, such as `migrate`.
        unit: of a part's size, such as `rows`.
    """

    name: str = "work"
    unit: str = "parts"

    @abc.abstractmethod
    def open(self) -> Do:
        """Load what all parts need, a model for instance, once in each worker.

        Returns:
            What does one part. If it has a `close`, that is called where the worker ends in an orderly way.

        Raises:
            AlignkitError: if this worker cannot do any part.
        """

    def output(self, part: Part) -> Place | None:
        """The part's file: where it is gone, the part is done again. `None` where a part leaves no file of its own."""
        return None


@dataclass(frozen=True)
class Finished:
    """A part that came to its end.

    Attributes:
        number: of the part.
        worker: who did it: `process 4711`, or host and process.
        seconds: that it took there.
        result: of the part; `None` if it failed.
        fault: why it failed, in one line.
        opening: whether the worker failed before its first part: it could not load what all parts need.
    """

    number: int
    worker: str
    seconds: float
    result: Result | None = None
    fault: str | None = None
    opening: bool = False


class Engine(Protocol):
    """Does parts, in any order.

    Attributes:
        underway: number of a part that is being done → since when, by `time.monotonic`.
        workers: how many parts are done at the same time.
    """

    @property
    def underway(self) -> Mapping[int, float]:
        """See the class."""
        ...

    @property
    def workers(self) -> int:
        """See the class."""
        ...

    def run(self, work: Work, parts: Sequence[Part]) -> Iterator[Finished | None]:
        """Give each part as it comes to its end, and `None` every few seconds while none does.

        Closing the iterator stops the workers; parts that are underway may then be done or not.

        Raises:
            AlignkitError: if no worker can be had.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        done: number → result of every part that is done, earlier ones included.
        failed: number → why, in one line.
        left: parts that were not tried, because nothing but failures came.
    """

    done: dict[int, Result]
    failed: dict[int, str] = field(default_factory=dict)
    left: int = 0

    def expect_whole(self, parts: Sequence[Part]) -> None:
        """Refuse to go on while parts are missing.

        Raises:
            AlignkitError: which names those that failed, and why.
        """
        if not self.failed:
            return
        cover = {part.number: _said(part.settings) for part in parts}
        named = [f"part {number} ({cover[number]}): {why}" for number, why in sorted(self.failed.items())]
        more = f"; and {len(named) - _MOST_NAMED:,} more" if len(named) > _MOST_NAMED else ""
        rest = f"; {self.left:,} were not tried" if self.left else ""
        raise AlignkitError(
            f"{len(self.failed):,} of {len(parts):,} parts failed, {len(self.done):,} are done{rest}; "
            f"{'; '.join(named[:_MOST_NAMED])}{more}; the same command does these again and keeps the rest"
        )


def _said(settings: Mapping[str, Any]) -> str:
    """What a part covers, in a few words.

    >>> _said({"first": 4096, "rows": 10})
    'first=4096, rows=10'
    """
    return ", ".join(f"{name}={value}" for name, value in settings.items() if value is not None)


def in_one_line(error: BaseException) -> str:
    """An error as the reason of a part that failed.

    >>> in_one_line(ValueError("bad row"))
    'ValueError: bad row'
    """
    said = " ".join(redacted(str(error)).split())
    if isinstance(error, AlignkitError):
        return said
    if isinstance(error, MemoryError):
        return f"the worker ran out of memory{f' ({said})' if said else ''}"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
