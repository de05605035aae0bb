"""What a benchmark found: the one thing that its reports are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.evaluation.group_figures import GroupFigure
from alignkit.evaluation.table_rows import Product, RowName
from alignkit.metrics.intervals import Interval


@dataclass(frozen=True)
class Score:
    """A score of one row.

    Attributes:
        value: as MTEB's file has it.
        interval: over the units of the task; `None` where its score is not made of figures of single units.
        share: of the teacher's score, likewise; `None` also where the teacher was not run.
    """

    value: float
    interval: Interval | None = None
    share: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "score": self.value,
            "interval": None if self.interval is None else self.interval.to_json(),
            "share": None if self.share is None else self.share.to_json(),
        }


@dataclass(frozen=True)
class TaskScores:
    """One task.

    Attributes:
        name: as MTEB's files are called.
        kind: `Retrieval`, `STS`, `Classification` ...
        measure: its main score, by MTEB's name.
        units: how many queries, pairs or texts the intervals are over; `None` without intervals.
        called: what these are called.
        rows: row → its score.
        groups: what the head keeps by group, the worst first.
        grouped_by: the field.
        notes: what was left out, and why something is missing.
    """

    name: str
    kind: str
    measure: str
    units: int | None
    called: str
    rows: Mapping[RowName, Score]
    groups: tuple[GroupFigure, ...] = ()
    grouped_by: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `benchmark.json` has it."""
        groups = {"grouped_by": self.grouped_by, "groups": [one.to_json() for one in self.groups]}
        return {
            "name": self.name,
            "type": self.kind,
            "main_score": self.measure,
            "units": self.units,
            "unit": self.called,
            "rows": {name.value: score.to_json() for name, score in self.rows.items()},
            **(groups if self.groups else {}),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Ran:
    """A model as MTEB knows it: its name, its revision, and the folder of its files below `results/`."""

    name: str
    revision: str
    folder: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Benchmarked:
    """All tasks.

    Attributes:
        head: where it came from.
        product: the rows of the student and the head.
        models: row → the model that ran.
        tasks: in the order in which they were named.
        mean: row → the mean of its scores, where there are several tasks.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        versions: library → version.
    """

    head: str
    product: Product
    models: Mapping[RowName, Ran]
    tasks: tuple[TaskScores, ...]
    mean: Mapping[RowName, Score]
    seed: int
    resamples: int
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """`benchmark.json`."""
        return {
            "head": self.head,
            "models": {name.value: ran.to_json() for name, ran in self.models.items()},
            "tasks": [task.to_json() for task in self.tasks],
            "mean": {name.value: score.to_json() for name, score in self.mean.items()},
            "seed": self.seed,
            "resamples": self.resamples,
            "versions": dict(self.versions),
        }
