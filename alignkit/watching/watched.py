"""All that `watch` found, for whoever reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.artifact import Artifact
from alignkit.metrics.intervals import Interval
from alignkit.watching.standing import Judged
from alignkit.watching.unlikeness import Unlikeness

# the rows of a report that are student and head: of a trained student, of a head alone
PRODUCTS = ("tuned", "aligned")


@dataclass(frozen=True)
class Watched:
    """One look.

    Attributes:
        head: where it is.
        queries: name of their file.
        artifact: the head.
        notes: what was odd or left out, a sentence each.
        unlikeness: of the queries.
        lowest_cosines: side → of the texts that the run keeps, embedded again; without those that were not compared.
        judged: `None` where the teacher was not asked.
        place: what was searched, likewise.
        index_change: see `looking.Looked`.
        history: the folder of the looks.
    """

    head: str
    queries: str
    artifact: Artifact
    notes: tuple[str, ...]
    unlikeness: Unlikeness
    lowest_cosines: Mapping[str, float]
    judged: Judged | None = None
    place: str | None = None
    index_change: Interval | None = None
    history: Path | None = None

    @property
    def in_report(self) -> Mapping[str, float | None]:
        """The head's figures in its own report; empty where it has none."""
        rows = self.artifact.metrics
        return next((rows[name] for name in PRODUCTS if isinstance(rows.get(name), Mapping)), {})

    def to_json(self) -> dict[str, Any]:
        """`metrics.json`."""
        told = {
            "head": self.head,
            "queries": self.queries,
            "place": self.place,
            "in_report": {name: self.in_report.get(name) for name in ("overlap@10", "cosine_mean")},
            "index_change": self.index_change and self.index_change.to_json(),
            "lowest_cosines": dict(self.lowest_cosines),
            "unlikeness": self.unlikeness.to_json(),
            "notes": list(self.notes),
        }
        rows: dict[str, Any] = {}
        if self.judged is not None:
            told |= self.judged.to_json()
            parts = {"live": self.judged.last, "held_out": self.judged.reference}
            rows = {
                name: {"overlap@10": one.overlap.value, "cosine_mean": one.cosine.value}
                for name, one in parts.items()
                if one is not None
            }
        return {"rows": rows, "meta": {"watch": told}}
