"""One `.zip` of the head, its configuration, report and metrics, with checksums; `load_head` reads it as it is."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignkit.agreement import Tolerance
from alignkit.aligned import head_for, student_beside
from alignkit.artifact import load_artifact, save_artifact
from alignkit.embedders.distilled import is_distilled
from alignkit.errors import ArtifactError, ConfigError
from alignkit.exporters.base import Job
from alignkit.files import move
from alignkit.head_files import BUNDLE_SUFFIX
from alignkit.student_files import STUDENT
from alignkit.vectors import l2_normalize

OPTIONS: frozenset[str] = frozenset()
CARRIES_MODELS = False
SUFFIX = BUNDLE_SUFFIX
RUN_FILES = ("config.yaml", "metrics.json", "alignment_report.md", "alignment_metrics.csv")
LONGEST_RUN_FILE_BYTES = 16 * 1024 * 1024


def tolerance(job: Job) -> Tolerance:
    """The same numbers in the same operations."""
    return Tolerance(1e-6)


def write(job: Job, folder: Path) -> dict[str, Any]:
    """The head, the student that was trained with it, and what says how they were made and how good they are."""
    save_artifact(job.artifact, folder / "head")
    for name, content in _run_files(job.origin).items():
        (folder / name).write_bytes(content)
    if is_distilled(job.artifact.student_identity):
        shutil.copytree(student_beside(job.artifact, job.origin), folder / STUDENT)
    return {}


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Load the head as saved."""
    # as the job does it: numbers in half precision, computed with in float32
    head = head_for(load_artifact(folder), job.role).float()
    with torch.inference_mode():
        return l2_normalize(head(torch.from_numpy(job.vectors))).numpy()


def _run_files(origin: Path) -> dict[str, bytes]:
    """What stands beside a head that was named by its run folder, by its own folder or as a bundle."""
    if origin.suffix.lower() == BUNDLE_SUFFIX and origin.is_file():
        return _bundled(origin)
    folder = origin.resolve()
    run = folder.parent if folder.name == "head" else folder
    # a head that lies alone has no run: what stands beside its folder may be any other's
    if not (run / "head").is_dir():
        return {}
    return {name: (run / name).read_bytes() for name in RUN_FILES if (run / name).is_file()}


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
