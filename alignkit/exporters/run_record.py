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
from typing import Any

from alignkit.errors import ArtifactError
from alignkit.head_files import bundle_at, read_head_files
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
# of these, texts that may say where data lie
PLACED = ("source", "split", "leaks")
# where something lies is nobody's business: folders of a disk, hosts of an engine
_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://\S+|(?<![\w.])(?:[A-Za-z]:\\|~?/)\S+")


@dataclass(frozen=True)
class RunRecord:
    """What `metrics.json` says; empty where there is none.

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
