"""Several processes that fit one head together: the first leads, the others sum up their shares of the pairs for it.

Whatever is chosen or solved is chosen and solved in the first process alone. The others know no head: they wait for the
next pass over the pairs that it asks for.
"""

from __future__ import annotations

import contextlib
import io
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from alignkit.errors import AlignkitError
from alignkit.heads.sums import Pass, Sums, SumsType
from alignkit.pairs.base import Pairs
from alignkit.pairs.placed_rows import rows_on
from alignkit.training.solver_batches import SolverBatches
from alignkit.vectors import unit_in_place

# the others wait while the first solves and chooses, which may take hours; a process that dies is noticed at once
PATIENCE = timedelta(days=7)
_STOPPED = "stopped"
_LONGEST_REASON = 300

Told = TypeVar("Told")


@dataclass(frozen=True)
class Team:
    """This process and those that fit a head with it.

    Attributes:
        rank: of this process, 0 is the first.
        size: number of processes.
        group: through which they talk; `None` where this process is alone.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def first(self, work: Callable[[], Told]) -> Told:
        """What `work` gives in the first process, in all of them. The others wait, and end where it fails.

        Args:
            work: called in the first process alone; what it gives is pickled.
        """
        if self.size == 1:
            return work()
        if not self.leads:
            return self._hear()
        with self._telling_of_failure():
            found = work()
        self._tell(found)
        return found

    @contextlib.contextmanager
    def first_ahead(self) -> Iterator[None]:
        """The first process goes ahead; the others follow when it is through, and find what it left in a cache, say."""
        if not self.leads:
            self._hear()
            yield
            return
        with self._telling_of_failure():
            yield
        if self.size > 1:
            self._tell(None)

    def led(self, parts: Sequence[Pairs], device: torch.device, work: Callable[[SolverBatches], Told]) -> Told | None:
        """What `work` gives in the first process, `None` in the others: these make its passes over the pairs with it.

        Args:
            parts: sets of pairs, the same in all processes.
            device: where batches are placed.
            work: given all parts as if joined; passes that end in sums are made by all, each over its share.

        Raises:
            SystemExit: in the others, if the first one has failed; it says why.
        """
        if not self.leads:
            self._follow(parts, device)
            return None
        with self._telling_of_failure():
            found = work(SolverBatches(*parts, device=device) if self.size == 1 else _Shared(self, parts, device))
        if self.size > 1:
            self._tell(None)
        return found

    def _follow(self, parts: Sequence[Pairs], device: torch.device) -> None:
        while (work := self._hear(device)) is not None:
            with contextlib.suppress(_ToldError):  # the first one decides what follows
                self._summed(work, parts, device)

    def summed(self, work: Pass[SumsType], parts: Sequence[Pairs], device: torch.device) -> SumsType:
        """In the first process, while it leads: the sums that `work` gives, over the shares of all."""
        self._tell(work)
        return self._summed(work, parts, device)

    def _summed(self, work: Pass[SumsType], parts: Sequence[Pairs], device: torch.device) -> SumsType:
        own: Sums | None = None
        error: Exception | None = None
        try:
            own = work(SolverBatches(*parts, device=device, share=(self.rank, self.size)))
        except Exception as caught:  # noqa: BLE001 - whatever it is, the others must not wait for this share
            error = caught
        reasons: list[str | None] = [None] * self.size
        with self._noticing():
            dist.all_gather_object(reasons, None if error is None else _reason(error), group=self.group)
        if error is not None and self.leads:
            raise error
        if any(reasons):
            rank = next(rank for rank, reason in enumerate(reasons) if reason)
            raise _ToldError(f"process {rank} of {self.size}, {reasons[rank]}") from error
        with self._noticing():
            return own.all_reduce()  # type: ignore[union-attr, return-value]

    def _tell(self, found: object) -> None:
        """To all others."""
        buffer = io.BytesIO()
        torch.save(found, buffer)
        with self._noticing():
            dist.broadcast_object_list([buffer.getvalue()], src=0, group=self.group)

    def _hear(self, device: torch.device | None = None) -> Any:
        """What the first one tells; tensors lie on this process's device."""
        told: list[Any] = [None]
        with self._noticing():
            dist.broadcast_object_list(told, src=0, group=self.group)
        # the first one is this very program, which is why it may send more than tensors
        found = torch.load(io.BytesIO(told[0]), map_location=device, weights_only=False)
        if found == _STOPPED:
            end_quietly()
        return found

    @contextlib.contextmanager
    def _telling_of_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self.size > 1:
                with contextlib.suppress(AlignkitError):
                    self._tell(_STOPPED)
            raise

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        """Say in one line that another process is gone."""
        try:
            yield
        except RuntimeError as error:
            raise lost(error) from None


ALONE = Team()


class _ToldError(AlignkitError):
    """Another process has failed."""


class _Shared(SolverBatches):
    """Pairs in the first process: the passes over them are made by all, and single rows are read where they lie."""

    def __init__(self, team: Team, parts: Sequence[Pairs], device: torch.device) -> None:
        super().__init__(*parts, device=device)
        self.team = team

    def summed(self, work: Pass[SumsType]) -> SumsType:
        """See `heads.sums.summed`."""
        if len(self) < self.team.size:  # a share would be empty
            return work(self)
        return self.team.summed(work, self.parts, self.device)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See `heads.streaming.EvenSample.watch`: ascending rows of all pairs."""
        taken, first = [], 0
        for pairs in self.parts:
            mine = rows[(rows >= first) & (rows < first + len(pairs))] - first
            student, teacher = (rows_on(side, mine, self.device) for side in (pairs.student, pairs.teacher))
            taken.append((student, unit_in_place(teacher)))
            first += len(pairs)
        student, teacher = (torch.cat(side) for side in zip(*taken, strict=True))
        return student, teacher


def join(trainer: Any) -> Team:
    """Meet the processes that train together, by Lightning's strategy; where nobody has, start those of this machine.

    Args:
        trainer: Lightning's, whose settings say how many there are.

    Raises:
        ConfigError: if the launcher started another number of processes.
    """
    if trainer.world_size == 1:
        return ALONE
    strategy = trainer.strategy
    strategy.launcher.launch(strategy.setup_environment)
    try:
        group = dist.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as error:
        raise lost(error) from None
    return Team(dist.get_rank(), dist.get_world_size(), group)


def is_lost(error: BaseException) -> bool:
    """Whether the connection to another process broke."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def lost(error: BaseException) -> AlignkitError:
    """One line on an error of `torch.distributed`."""
    # after the place in the source, before advice to look into another log
    why = str(error).split("\n")[0].partition("] ")[2].partition(". ")[0][:_LONGEST_REASON] or type(error).__name__
    return AlignkitError(
        f"one of the processes that train together has ended ({why}); what it said tells why, and a run that had begun "
        "to train goes on with resume="
    )


def _reason(error: Exception) -> str:
    kind = "" if isinstance(error, AlignkitError) else f"{type(error).__name__}: "
    return f"on {platform.node()}: {kind}{' '.join(str(error).split())[:_LONGEST_REASON]}"


def end_quietly() -> NoReturn:
    """End a process that is not the first, which says what there is to say.

    Without an error: Lightning kills the first process when it sees another fail.
    """
    raise SystemExit(0)
