"""Which runs are meant by folders, patterns, and folders that hold many of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import ConfigError
from alignkit.runs.folder import CONFIG, METRICS

# outputs/train/TIME/JOB: a sweep within all that was made
DEPTH = 3


@dataclass(frozen=True)
class FoundRuns:
    """Folders of runs, each once, in the order in which people count.

    Attributes:
        finished: those with a `metrics.json`.
        unfinished: those that were begun and are not finished.
    """

    finished: tuple[Path, ...]
    unfinished: tuple[Path, ...]

    def names(self) -> dict[Path, str]:
        """What to call each: its path below the folder that all of them share, whole where they share none."""
        together = {path: path.resolve() for path in (*self.finished, *self.unfinished)}
        try:
            above = os.path.commonpath([whole.parent for whole in together.values()])
        except ValueError:  # two drives of Windows, or no run
            return {path: whole.as_posix() for path, whole in together.items()}
        return {path: whole.relative_to(above).as_posix() for path, whole in together.items()}


def runs_asked(runs: Any) -> list[str]:
    """The setting `runs=`, which may be one word.

    Raises:
        ConfigError: if it is anything else.
    """
    asked = runs if isinstance(runs, list) else [runs]
    if not asked or not all(isinstance(word, str) and word for word in asked):
        raise ConfigError(f"runs={runs}: expected folders of runs, or patterns of these")
    return asked


def find_runs(asked: Sequence[str]) -> FoundRuns:
    """Look for runs.

    Args:
        asked: run folders, folders that hold some (a sweep's, `outputs`), their `metrics.json`, and patterns of these.

    Raises:
        ConfigError: if one of them is not there, or holds no run.
    """
    finished: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for word in asked:
        named, found = list(_named(word)), 0
        for path in named:
            for run in _runs_below(path, DEPTH):
                found += 1
                (finished if (run / METRICS).is_file() else unfinished)[run.resolve()] = run
        if not found:
            what = "matches nothing" if not named else "holds no run: no metrics.json lies there or below"
            raise ConfigError(f"{word}: {what}; expected runs of train, distill or evaluate, or a sweep")
    return FoundRuns(_ordered(finished.values()), _ordered(unfinished.values()))


def _named(word: str) -> Iterator[Path]:
    path = Path(word).expanduser()
    if path.exists():
        yield path.parent if path.name == METRICS and path.is_file() else path
    elif glob.has_magic(word):
        yield from (Path(one).parent if Path(one).name == METRICS else Path(one) for one in glob.glob(str(path)))


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    if (folder / METRICS).is_file() or (folder / CONFIG).is_file():
        yield folder
    elif depth:
        for below in folder.iterdir():
            yield from _runs_below(below, depth - 1)


def _ordered(paths: Iterable[Path]) -> tuple[Path, ...]:
    """10 comes after 9."""
    return tuple(sorted(paths, key=lambda path: [(len(part), part) if part.isdigit() else (0, part) for part in
                                                 re.split(r"(\d+)", path.as_posix())]))  # fmt: skip
