"""How a table was made out of a teacher, and what fewer of its calls would have given; kept beside the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.files import write_whole
from alignkit.metrics.intervals import Interval

TABLE_JSON = "table.json"


@dataclass(frozen=True)
class BudgetPoint:
    """A table of fewer entries, on texts that it was not fitted to.

    Attributes:
        asked: entries that the teacher would have been asked for.
        cosine: mean with the teacher's vectors, through a linear map.
        change: of that, from the table with all its entries; `None` for that one.
    """

    asked: int
    cosine: float
    change: Interval | None = None


@dataclass(frozen=True)
class TableReport:
    """How a table was made.

    Attributes:
        folder: where it is.
        entries: tokens with a row.
        words: whole words of the texts among the candidates, beside the pieces.
        width: columns.
        asked: entries that the teacher was asked for, now or before.
        calls: those that the cache did not have.
        wanted: entries that it would have been asked for without a budget.
        fitted_on: texts whose teacher vectors the rows were fitted to; 0: none.
        known: share of the texts' tokens that are entries.
        tables: the sources.
        seconds: wall clock beside the teacher's calls.
        teacher_seconds: wall clock of these.
        curve: all entries, half of them, and so on; empty where there was nothing to measure by.
        judged_on: texts that the curve was measured on.
    """

    folder: Path
    entries: int
    words: int
    width: int
    asked: int
    calls: int
    wanted: int
    fitted_on: int
    known: float
    tables: tuple[str, ...]
    seconds: float
    teacher_seconds: float
    curve: tuple[BudgetPoint, ...] = ()
    judged_on: int = 0

    def to_json(self) -> dict[str, Any]:
        """As `meta.student_table` in `metrics.json` has it; where the table was is of no interest there."""
        points = [{**vars(one), "change": one.change and one.change.to_json()} for one in self.curve]
        return {**vars(self), "tables": list(self.tables), "curve": points} | {"folder": self.folder.name}

    def save(self) -> None:
        """Write `table.json` beside the folder."""
        write_whole(self.folder.parent / TABLE_JSON, json.dumps(self.to_json(), indent=2))

    @classmethod
    def read(cls, folder: Path) -> TableReport | None:
        """Of the table in a folder; `None` where it is not known, or not readable."""
        try:
            told: Mapping[str, Any] = json.loads((folder.parent / TABLE_JSON).read_text(encoding="utf-8"))
            points = tuple(
                BudgetPoint(one["asked"], one["cosine"], one["change"] and Interval(**one["change"]))
                for one in told["curve"]
            )
            return cls(**{**told, "folder": folder, "tables": tuple(told["tables"]), "curve": points})
        except (OSError, ValueError, TypeError, KeyError):
            return None
