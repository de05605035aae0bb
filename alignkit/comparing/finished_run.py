"""What a finished run says of itself: its settings, its figures with intervals, and what they were measured on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import AlignkitError, ArtifactError
from alignkit.metrics.intervals import Interval
from alignkit.parts import TARGET
from alignkit.runs.folder import CONFIG, METRICS
from alignkit.runs.run_config import read_run_config
from alignkit.servers.untrusted_words import one_line

# of a metrics.json; ours stay below one megabyte
MOST_BYTES = 32 * 1024 * 1024
# settings that change nothing about a head
INCIDENTAL = frozenset({"resume", "cache_dir", "threads", "html", "tensorboard", "device.name", "head"})


@dataclass(frozen=True)
class FinishedRun:
    """One finished run.

    Attributes:
        folder: of the run.
        name: what to call it.
        settings: flat, by dotted name; a part by the name of its kind.
        rows: the table, by row and column.
        meta: what stands beside it.
    """

    folder: Path
    name: str
    settings: Mapping[str, str]
    rows: Mapping[str, Mapping[str, float | None]]
    meta: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, name: str) -> FinishedRun:
        """From the run's folder.

        Raises:
            ArtifactError: if `metrics.json` is not what a training or an evaluation writes.
        """
        path = folder / METRICS
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES:,} bytes")
            rows, meta = _checked(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ArtifactError(f"{path}: not the figures of a training or an evaluation") from None
        return cls(folder, name, _settings(folder, meta), rows, meta)

    @property
    def measure(self) -> str:
        """The column that the run's verdict is about."""
        return str(self.meta["measure"])

    @property
    def figures(self) -> Mapping[str, float | None]:
        """Those of the student with the head."""
        return self.rows[str(self.meta["judged"])]

    @property
    def kind(self) -> str:
        """Of the head."""
        return one_line(self.settings.get("model") or self.meta.get("model") or "-", 24)

    @property
    def head(self) -> Path | None:
        """Where the head lies: in the run, or where an evaluation read it from."""
        if (self.folder / "head").is_dir():
            return self.folder
        named = self.meta.get("head")
        return Path(named) if isinstance(named, str) and Path(named).exists() else None

    def interval(self, column: str) -> Interval | None:
        """Of the student with the head, in a column."""
        return _interval((self.meta.get("intervals") or {}).get(column, {}).get(self.meta["judged"]))

    def share(self) -> Interval | None:
        """Of the teacher's figure, in the measure of the verdict."""
        return _interval((self.meta.get("shares") or {}).get(self.meta["judged"]))

    def validation(self, figure: str) -> float | None:
        """A figure of the validation split, such as `val/cosine_p50`; `None` where the run was no training."""
        found = (self.meta.get("validation") or {}).get(figure)
        return float(found) if isinstance(found, int | float) else None

    def measured_on(self) -> str:
        """Tells the test set from any other; runs of one teacher with the same can be compared."""
        if digest := self.meta.get("test_set"):
            return str(digest)
        # of a run of 0.1: the teacher's own figures depend on nothing but the set
        told = [self.meta.get(name) for name in ("source", "split", "queries", "corpus")]
        figures = {name: value for name, value in self.rows.get("teacher", {}).items() if not name.endswith("_ms")}
        return json.dumps([told, figures], sort_keys=True)


def _checked(whole: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows and what stands beside them, if every figure that is read later is a number or undefined.

    Raises:
        ValueError, KeyError, TypeError: if not.
    """
    rows, meta = whole["rows"], whole["meta"]
    rows[meta["judged"]][meta["measure"]]  # noqa: B018 - whether they are there
    intervals, validation = meta.get("intervals") or {}, meta.get("validation") or {}
    tables = [meta, rows, intervals, validation, meta.get("shares") or {}]
    tables += [*rows.values(), *intervals.values()] if all(isinstance(one, dict) for one in tables) else []
    if not all(isinstance(one, dict) for one in tables):
        raise TypeError("expected figures by name")
    for value in (*(value for row in rows.values() for value in row.values()), *validation.values()):
        if value is not None and not math.isfinite(value):
            raise ValueError("not a number")
    return rows, meta


def _interval(found: Any) -> Interval | None:
    try:
        return None if found is None else Interval(float(found["value"]), float(found["low"]), float(found["high"]))
    except (KeyError, TypeError, ValueError):
        return None


def _settings(folder: Path, meta: Mapping[str, Any]) -> dict[str, str]:
    """As the run keeps them; of an evaluation as its figures name them."""
    try:
        nested = read_run_config(folder / CONFIG) if (folder / CONFIG).is_file() else meta.get("settings") or {}
    except AlignkitError:  # the figures are what is compared
        nested = {}
    return {one_line(name, 60): one_line(value, 60) for name, value in _flat(nested) if name not in INCIDENTAL}


def _flat(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted name; of a recipe, which belongs to a part, none."""
    if not isinstance(node, Mapping):
        yield place, _as_typed(node)
        return
    if place and isinstance(target := node.get(TARGET), str):
        yield place, target.split(".")[-2] if "." in target else target
    for key, value in node.items():
        if str(key).startswith("_") or (place and key == "recipe"):
            continue
        yield from _flat(value, f"{place}.{key}" if place else str(key))


def _as_typed(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
