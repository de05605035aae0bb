"""One `.zip` of the head, its configuration, report and metrics, with checksums; `load_head` reads it as it is."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignkit.agreement import Tolerance
from alignkit.aligned import head_for
from alignkit.artifact import BUNDLE_SUFFIX, load_artifact, save_artifact
from alignkit.errors import ConfigError
from alignkit.exporters.base import Job
from alignkit.vectors import l2_normalize

OPTIONS: frozenset[str] = frozenset()
CARRIES_MODELS = False
RUN_FILES = ("config.yaml", "metrics.json", "alignment_report.md", "alignment_metrics.csv")


def tolerance(job: Job) -> Tolerance:
    """The same numbers in the same operations."""
    return Tolerance(1e-6)


def write(job: Job, folder: Path) -> dict[str, Any]:
    """The head, and of the run folder what says how it was made and how good it is."""
    save_artifact(job.artifact, folder / "head")
    for name in RUN_FILES:
        for place in (job.origin, job.origin.parent):
            if (place / name).is_file() and (place / "head").is_dir():
                shutil.copyfile(place / name, folder / name)
                break
    return {}


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Load the head as saved."""
    head = head_for(load_artifact(folder), job.role)
    with torch.inference_mode():
        return l2_normalize(head(torch.from_numpy(job.vectors)).float()).numpy()


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
    load_artifact(unfinished.rename(unfinished.with_suffix(BUNDLE_SUFFIX))).digest()
    unfinished.with_suffix(BUNDLE_SUFFIX).rename(out)
