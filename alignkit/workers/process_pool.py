"""Processes of this machine that do parts, each with a pipe: who dies, with which part, is seen at once.

`concurrent.futures` breaks the whole pool when one process is killed, without a word about its part, and
`multiprocessing.Pool` waits for that part without end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from alignkit.workers.base import Do, Finished, Part, Work, in_one_line
from alignkit.workers.doing import close, done_by

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
BEAT_S = 5.0
_ENDING_S = 5.0


class ProcessPool:
    """Some processes, started anew, that share the machine's cores.

    Args:
        workers: how many.
        underway: kept up to date: number of a part → since when it is being done.
    """

    def __init__(self, workers: int, underway: dict[int, float]) -> None:
        self._count, self._underway = workers, underway
        self._threads = max(1, (os.cpu_count() or 1) // workers)
        self._members: dict[Connection, _Member] = {}

    def run(self, work: Work, parts: Sequence[Part]) -> Iterator[Finished | None]:
        """See `Engine`."""
        left = list(reversed(parts))
        try:
            while left or self._busy():
                while left and len(self._members) < min(self._count, len(left) + self._busy()):
                    self._start(work)
                for member in self._members.values():
                    if left and member.part is None:
                        self._give(member, left.pop())
                heard = wait(list(self._members), timeout=BEAT_S)
                if not heard:
                    yield None
                for connection in heard:
                    yield self._heard(self._members[connection])  # type: ignore[index]
        finally:
            self._underway.clear()
            self._end()

    def _busy(self) -> int:
        return sum(member.part is not None for member in self._members.values())

    def _start(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._threads), name=work.name, daemon=True)
        process.start()
        theirs.close()  # so that its end is noticed
        self._members[ours] = _Member(process, ours)
        with suppress(OSError):  # it died at once: noticed with its first part
            ours.send(work)

    def _give(self, member: _Member, part: Part) -> None:
        member.part = part
        self._underway[part.number] = time.monotonic()
        with suppress(OSError):
            member.connection.send(part)

    def _heard(self, member: _Member) -> Finished | None:
        part = member.part
        try:
            finished: Finished | None = member.connection.recv()
        except (EOFError, OSError):
            finished = None
        if finished is None or finished.opening:
            del self._members[member.connection]
            member.connection.close()
            member.process.join(_ENDING_S)
        member.part = None
        if part is None:
            return None
        since = self._underway.pop(part.number)
        if finished is not None:
            return finished
        how = _cause(member.process.exitcode)
        name = f"process {member.process.pid}"
        return Finished(part.number, name, time.monotonic() - since, fault=f"{name} {how} while it did this part")

    def _end(self) -> None:
        for member in self._members.values():
            member.connection.close()  # an idle worker ends by itself
            if member.part is not None:
                member.process.terminate()
        for member in self._members.values():
            member.process.join(_ENDING_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
        self._members.clear()


class _Member:
    """One process, and the part it is doing."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self.process, self.connection = process, connection
        self.part: Part | None = None


def _cause(exit_code: int | None) -> str:
    """How a process ended.

    >>> _cause(1), _cause(-9)
    ('ended with exit code 1', 'was killed (signal 9; by the system, if memory ran out)')
    """
    if exit_code is not None and exit_code < 0:
        hint = "; by the system, if memory ran out" if exit_code == -int(getattr(signal, "SIGKILL", 9)) else ""
        return f"was killed (signal {-exit_code}{hint})"
    return f"ended with exit code {exit_code}"


def _serve(connection: Connection, threads: int) -> None:
    """The life of a worker: it ends with its pipe, also when the process at the other end is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process ends the others
    os.environ.update(dict.fromkeys(THREADS, str(threads)))  # before NumPy and torch, which come with the work
    do: Do | None = None
    name = f"process {os.getpid()}"
    try:
        work: Work = connection.recv()
        try:
            do = work.open()
        except Exception as error:
            why = in_one_line(error)
            connection.send(Finished(connection.recv().number, name, 0.0, fault=why, opening=True))
            return
        while True:
            connection.send(done_by(do, connection.recv(), name))
    except (EOFError, OSError):  # nobody is at the other end
        return
    finally:
        close(do)
