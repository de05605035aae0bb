"""A Ray cluster: every part is a Ray task. Ray places them, and does those of a lost node again.

Tasks, not actors: an actor that has lost its node waits for the same resources with the part it was given, a task takes
whatever is free. A worker's process keeps what a job has loaded, so a model is loaded once in each.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from alignkit import __version__
from alignkit.credentials import redacted
from alignkit.errors import EngineError
from alignkit.extras import needing
from alignkit.setting_rules import check, number_from, whole
from alignkit.workers.base import Do, Finished, Part, Work, in_one_line
from alignkit.workers.doing import done_by
from alignkit.workers.ray_address import expect_address, expect_answer, refused

logger = logging.getLogger(__name__)

BEAT_S = 5.0
# how often Ray does a part again whose worker or node is gone
RETRIES = 3


class RayEngine:
    """Does parts on a Ray cluster, whose nodes have alignkit installed.

    Args:
        address: `local` starts a Ray of its own on this machine, `auto` finds the one that runs here, `HOST:PORT` is a
            cluster's, and `ray://HOST:PORT` one that is reached from outside.
        workers: parts that are done at the same time; `None` for one a core, or one for each of its GPUs.
        gpus_per_worker: that a worker has to itself; a fraction shares one.

    Raises:
        ConfigError: if a setting cannot be used.
        MissingExtraError: without Ray.
    """

    def __init__(self, address: str = "local", workers: int | None = None, gpus_per_worker: float = 0) -> None:
        settings = {"address": address, "workers": workers, "gpus_per_worker": gpus_per_worker}
        check(settings, {"workers": whole(1).or_null("one a core"), "gpus_per_worker": number_from(0)})
        expect_address(address)
        self.address, self.gpus = address, gpus_per_worker
        self._asked = workers
        self.underway: dict[int, float] = {}

    @property
    def workers(self) -> int:
        """See `Engine`; once it runs, as many as the cluster has room for now."""
        return self._asked or 1

    def run(self, work: Work, parts: Sequence[Part]) -> Iterator[Finished | None]:
        """See `Engine`."""
        ray = ray_module()
        with self._connected(ray):
            self._expect_gpus(ray)
            job = _Job(ray, work, self.gpus, self._asked)
            self.underway = job.underway
            try:
                yield from job.run(parts)
            finally:
                job.stop()

    def _expect_gpus(self, ray: Any) -> None:
        """Nobody waits for a GPU in silence: on this machine none will come, a cluster may grow."""
        there = ray.cluster_resources().get("GPU", 0)
        if there >= self.gpus:
            return
        said = f"engine.gpus_per_worker={self.gpus:g}: Ray has {there:g} GPUs"
        if self.address == "local":
            raise EngineError(f"{said} on this machine; give a smaller number, or the engine.address= of a cluster")
        logger.warning("%s now; all parts wait for a node that has more", said)

    @contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        """A connection to the cluster; left as it was where the process has one."""
        if ray.is_initialized():
            yield
            return
        expect_answer(self.address)
        options: dict[str, Any] = {"address": self.address, "log_to_driver": False, "logging_level": "error"}
        if self.address == "local":
            # this machine alone, and without the bound a part that is out of memory would be done again without end
            options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            options |= {"num_cpus": self._asked, "_system_config": {"task_oom_retries": RETRIES}}
        try:
            with _environment(RAY_USAGE_STATS_ENABLED="0"):
                ray.init(**options)
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            raise refused(self.address, error) from None
        try:
            yield
        finally:
            ray.shutdown()


class _Job:
    """The tasks of one job: as many at once as there are workers."""

    def __init__(self, ray: Any, work: Work, gpus: float, workers: int | None) -> None:
        self._ray, self._gpus, self._workers = ray, gpus, workers
        self._work = ray.put(work)
        self._token = f"{os.getpid()}-{time.time_ns()}"
        self._task = ray.remote(_task).options(
            max_retries=RETRIES, num_cpus=1, num_gpus=gpus, name=work.name, retry_exceptions=[MemoryError]
        )
        self._parts: dict[Any, Part] = {}
        self.underway: dict[int, float] = {}

    def run(self, parts: Sequence[Part]) -> Iterator[Finished | None]:
        """See `Engine`."""
        left = iter(parts)
        while True:
            for part in itertools.islice(left, max(0, self._room() - len(self._parts))):
                # in a list, so that a worker which has it does not fetch it again
                given = self._task.remote([self._work], self._token, __version__, part)
                self._parts[given], self.underway[part.number] = part, time.monotonic()
            if not self._parts:
                return
            ready, _ = self._ray.wait(list(self._parts), num_returns=1, timeout=BEAT_S)
            if not ready:
                yield None
            for one in ready:
                part = self._parts.pop(one)
                yield self._ended(one, part, self.underway.pop(part.number))

    def stop(self) -> None:
        """Cancel what is underway."""
        for one in self._parts:
            with suppress(Exception):
                self._ray.cancel(one, force=True)
        self._parts.clear()
        self.underway.clear()

    def _room(self) -> int:
        """How many parts at once: nodes may come and go."""
        if self._workers is not None:
            return self._workers
        there = self._ray.cluster_resources()
        if self._gpus:
            return max(1, int(there.get("GPU", 0) / self._gpus))
        return max(1, int(there.get("CPU", 1)))

    def _ended(self, one: Any, part: Part, since: float) -> Finished:
        try:
            finished: Finished = self._ray.get(one)
            return finished
        except self._ray.exceptions.RayTaskError as error:
            if _lacks_alignkit(error):
                raise EngineError(
                    "the cluster's workers cannot import alignkit; install the same version on every node "
                    f"(pip install alignkit=={__version__})"
                ) from None
            # a memory error is done again by Ray, elsewhere if it likes; another one is the work's own
            why, opening = in_one_line(_cause(error)), not isinstance(_cause(error), MemoryError)
        except self._ray.exceptions.RayError as error:
            why, opening = f"its worker died in each of {RETRIES + 1} attempts ({_first_line(error)})", False
        return Finished(part.number, "", time.monotonic() - since, fault=why, opening=opening)


_opened: dict[str, Do] = {}


def _task(work: list[Any], token: str, version: str, part: Part) -> Finished:
    """One part, in a worker's process, which keeps what it has loaded for the next one."""
    import ray

    worker = f"{ray.util.get_node_ip_address()} process {os.getpid()}"
    if version != __version__:
        why = f"this node has alignkit {__version__}, the command was given with {version}; install the same everywhere"
        return Finished(part.number, worker, 0.0, fault=why, opening=True)
    if token not in _opened:
        _opened.clear()
        try:
            _opened[token] = ray.get(work[0]).open()
        except MemoryError:
            raise
        except Exception as error:
            return Finished(part.number, worker, 0.0, fault=in_one_line(error), opening=True)
    return done_by(_opened[token], part, worker, raising=MemoryError)


def ray_module() -> Any:
    """Ray, imported where it is first needed.

    Raises:
        MissingExtraError: without Ray.
    """
    # it would print what it says of workers that died among the command's results
    with needing("ray"), _environment(RAY_DEDUP_LOGS_SKIP_REGEX="."):
        import ray
    return ray


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that are set while the block runs, unless the user has set them."""
    ours = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _lacks_alignkit(error: BaseException) -> bool:
    return "No module named 'alignkit" in str(error)


def _cause(error: BaseException) -> BaseException:
    return getattr(error, "cause", None) or error


def _first_line(error: BaseException) -> str:
    lines = [line for line in redacted(str(error)).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
