"""One `.zip` of the head, its configuration, report and metrics, with checksums; `load_head` reads it as it is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.agreement import Tolerance
from alignkit.artifact import load_artifact
from alignkit.errors import ConfigError
from alignkit.exporters.base import Job
from alignkit.exporters.head_folder import SAME, apply_head, put_head
from alignkit.exporters.run_record import run_files
from alignkit.files import move
from alignkit.head_files import BUNDLE_SUFFIX

OPTIONS: frozenset[str] = frozenset()
CARRIES_MODELS = False
SUFFIX = BUNDLE_SUFFIX


def tolerance(job: Job) -> Tolerance:
    """The same numbers in the same operations."""
    return SAME


def write(job: Job, folder: Path) -> dict[str, Any]:
    """The head, the student that was trained with it, and what says how they were made and how good they are."""
    put_head(job, folder)
    for name, content in run_files(job.origin).items():
        (folder / name).write_bytes(content)
    return {}


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Load the head as saved."""
    return apply_head(job, folder)


def pack(folder: Path, out: Path) -> None:
    """Zip the folder; weights are stored as they are, so that a reader can bound what it reads.

    Raises:
        ConfigError: if `out` does not end in `.zip`.
    """
    if out.suffix.lower() != BUNDLE_SUFFIX:
        raise ConfigError(f"out={out}: a bundle ends in {BUNDLE_SUFFIX}; call it {out.name}{BUNDLE_SUFFIX}")
    unfinished = folder / "bundle"
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as bundle:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != unfinished):
            bundle.write(path, path.relative_to(folder).as_posix())
    move(unfinished, unfinished.with_suffix(BUNDLE_SUFFIX))
    load_artifact(unfinished.with_suffix(BUNDLE_SUFFIX)).digest()
    move(unfinished.with_suffix(BUNDLE_SUFFIX), out)
