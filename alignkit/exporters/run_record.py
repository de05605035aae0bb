"""What the run that a head comes from has written beside it: which files, and what they say of its quality."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeGuard

from alignkit.errors import ArtifactError
from alignkit.head_files import bundle_at, read_head_files
from alignkit.metrics.intervals import Interval
from alignkit.student_files import START

METRICS = "metrics.json"
RUN_FILES = ("config.yaml", METRICS, "alignment_report.md", "alignment_metrics.csv")
LONGEST_RUN_FILE_BYTES = 16 * 1024 * 1024
# of `meta` in `metrics.json`, what tells how good a head is; no texts, and nothing of the machine
PUBLISHED = (
    "source", "real", "split", "verdict", "verdict_text", "thresholds", "measure", "judged", "cascade", "queries",
    "judged_queries", "query_groups", "corpus", "seed", "resamples", "intervals", "differences", "shares", "leaks",
    "pairs", "versions", "student_table",
)  # fmt: skip
# what shares of the teacher's figure are of, and how large a figure of anything may be
MEASURES, LARGEST_FIGURE = ("ndcg@10", "overlap@10"), 1e9
# of these, texts that may say where data lie
PLACED = ("source", "split", "leaks")
# where something lies is nobody's business: folders of a disk, hosts of an engine
_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://\S+|(?<![\w.])(?:[A-Za-z]:\\|~?/)\S+")


def is_figure(value: object) -> TypeGuard[float]:
    """Whether a value out of a file that anybody may have written is a number to show.

    >>> is_figure(0.5), is_figure(float("nan")), is_figure(True), is_figure("0.5")
    (True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_FIGURE


@dataclass(frozen=True)
class Said:
    """A verdict in words: see `VerdictWords`."""

    name: str
    headline: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class RunRecord:
    """What `metrics.json` says; empty where there is none. What is not of the kind that it should be counts as absent.

    Attributes:
        rows: row → figures.
        meta: what they rest on: data, verdict, intervals.
        start_identity: of the student before it was trained, where its run is here.
    """

    rows: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    start_identity: Mapping[str, Any] | None = None

    @classmethod
    def beside(cls, origin: Path) -> RunRecord:
        """Of the run folder, head's folder or bundle that a head was named by; a damaged file says nothing."""
        try:
            found = json.loads(run_files(origin).get(METRICS, b"{}"))
            rows, meta = found.get("rows") or {}, found.get("meta") or {}
            return cls(dict(rows), dict(meta), _start_of(origin))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls()

    @property
    def verdict(self) -> Said | None:
        """In words; None where nothing was decided."""
        found = self._settings("verdict_text")
        name, headline, reasons = (found.get(key) for key in ("name", "headline", "reasons"))
        if not (isinstance(name, str) and isinstance(headline, str)):
            return None
        listed = reasons if isinstance(reasons, list) else []
        return Said(name, headline, tuple(one for one in listed if isinstance(one, str)))

    @property
    def measure(self) -> str | None:
        """What the verdict rests on; `MEASURES` has those that there are."""
        found = self.meta.get("measure")
        return found if found in MEASURES else None

    def share(self, row: str) -> Interval | None:
        """Of the teacher's figure, what a row reaches."""
        found = self._settings("shares").get(row)
        if not isinstance(found, Mapping):
            return None
        value, low, high = (found.get(name) for name in ("value", "low", "high"))
        if not (is_figure(value) and is_figure(low) and is_figure(high) and value >= 0 and 0 <= low <= high):
            return None
        return Interval(value, low, high)

    @property
    def pairs(self) -> dict[str, int]:
        """Split → how many pairs."""
        found = self._settings("pairs")
        return {split: count for split, count in found.items() if is_figure(count) and isinstance(count, int)}

    def _settings(self, name: str) -> Mapping[str, Any]:
        found = self.meta.get(name)
        return found if isinstance(found, Mapping) else {}

    def published(self) -> dict[str, Any]:
        """`metrics.json` as everybody may read it."""
        meta = {name: self.meta[name] for name in PUBLISHED if name in self.meta}
        return {"rows": dict(self.rows), "meta": meta | {name: self.said(name) for name in PLACED if name in meta}}

    def said(self, name: str) -> str:
        """A text of `meta`, without where things lie; "" if there is none."""
        text = self.meta.get(name)
        return _PLACE.sub(lambda found: PurePath(found[0].rstrip("/\\")).name, text) if isinstance(text, str) else ""


def run_files(origin: Path) -> dict[str, bytes]:
    """What stands beside a head that was named by its run folder, by its own folder or as a bundle.

    Raises:
        ArtifactError: if a bundle cannot be read.
    """
    if (bundle := bundle_at(origin)) is not None:
        return _bundled(bundle)
    folder = origin.resolve()
    run = folder.parent if folder.name == "head" else folder
    # a head that lies alone has no run: what stands beside its folder may be any other's
    if not (run / "head").is_dir():
        return {}
    return {name: (run / name).read_bytes() for name in RUN_FILES if (run / name).is_file()}


def _start_of(origin: Path) -> Mapping[str, Any] | None:
    start = (origin.parent if origin.name == "head" else origin) / START
    with contextlib.suppress(ArtifactError):
        return read_head_files(start).description.get("student_identity")
    return None


def _bundled(path: Path) -> dict[str, bytes]:
    """The same out of a bundle, which somebody else may have made: no other entry is read, and none of any size."""
    found = {}
    try:
        with zipfile.ZipFile(path) as bundle:
            for entry in bundle.infolist():
                if entry.filename not in RUN_FILES:
                    continue
                if entry.file_size > LONGEST_RUN_FILE_BYTES:
                    raise ArtifactError(
                        f"{path}: {entry.filename} has {entry.file_size} bytes, expected at most "
                        f"{LONGEST_RUN_FILE_BYTES}; refused"
                    )
                found[entry.filename] = bundle.read(entry)
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{path}: not a readable bundle ({error}); copy it again") from None
    return found
