"""What every format has in common: real vectors to check on, the check, the manifest, all or nothing on disk.

To add a format: `exporters/<name>.py` with `OPTIONS`, `write` and `read_back` (see `Format`). No edit elsewhere.
"""

from __future__ import annotations

import copy
import gc
import importlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError

from alignkit import __version__
from alignkit.agreement import Tolerance, compare, kept_overlap
from alignkit.aligned import head_for
from alignkit.artifact import Artifact
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.digests import file_digest
from alignkit.errors import ArtifactError, ConfigError
from alignkit.exporters.formats import formats
from alignkit.files import move, way_out
from alignkit.heads.base import Head
from alignkit.hub.pushing import MANIFEST
from alignkit.setting_rules import did_you_mean
from alignkit.vectors import l2_normalize


@dataclass(frozen=True)
class Job:
    """What is exported and what it is checked on.

    Attributes:
        artifact: the trained head.
        origin: what the user named: a run folder, a head's folder or a bundle.
        vectors: `(N, student_dim)` float32, real student vectors.
        vectors_from: one line on where they come from.
        texts: their N texts, where known.
        student, teacher: for formats that carry the models along.
        role: of the texts that it will embed; see `head_for`.
        options: settings that only some formats know.
        repo: `user/repo` on the Hub, where it will be put.
        licence: of the head, as the Hub calls it.
    """

    artifact: Artifact
    origin: Path
    vectors: np.ndarray
    vectors_from: str
    texts: list[str] | None = None
    student: Embedder | None = None
    teacher: Embedder | None = None
    role: Role = "query"
    options: Mapping[str, Any] = field(default_factory=dict)
    repo: str | None = None
    licence: str | None = None

    @property
    def head(self) -> Head:
        """The exported head; one with rounded weights is exported as the float32 head of the same weights."""
        head = head_for(self.artifact, self.role)
        return head if next(head.parameters()).dtype == torch.float32 else copy.deepcopy(head).float()

    def reference(self) -> np.ndarray:
        """What every format has to agree with: `(N, teacher_dim)` float32, L2-normalised."""
        with torch.inference_mode():
            return l2_normalize(self.head(torch.from_numpy(self.vectors))).numpy()


class Format(Protocol):
    """A module of this room."""

    OPTIONS: frozenset[str]
    """Settings of its own that it understands."""

    CARRIES_MODELS: bool
    """Whether the student itself is written too, so that texts are needed to check it."""

    def tolerance(self, job: Job) -> Tolerance:
        """How far from the head it may be."""
        ...

    def write(self, job: Job, folder: Path) -> dict[str, Any]:
        """Write everything into an empty folder; returns what the manifest should say of this format."""
        ...

    def read_back(self, job: Job, folder: Path) -> np.ndarray:
        """Apply what was written, from disk, as a user would: `(N, teacher_dim)`, L2-normalised."""
        ...

    # where a format has them: SUFFIX, the ending of its one file, `pack(folder, out)`, which makes that file, and
    # `check_options(options)`, which refuses values and missing packages before anything is computed


def format_named(name: str, options: Mapping[str, Any]) -> Any:
    """The module of a format.

    Raises:
        ConfigError: if there is no such format, or it does not know one of the options.
    """
    if name not in formats():
        raise ConfigError(f"unknown format '{name}'; formats: {', '.join(formats())}{did_you_mean(name, formats())}")
    module = importlib.import_module(f"alignkit.exporters.{name}")
    if unknown := sorted(set(options) - module.OPTIONS):
        raise ConfigError(f"format={name} has no setting {', '.join(unknown)}; leave it out")
    if hasattr(module, "check_options"):
        module.check_options(options)
    return module


def place_of(form: Any, out: str | Path) -> Path:
    """Where an export goes, with the ending of its format, before anything is computed.

    Args:
        form: from `format_named`.
        out: as it was typed.

    Raises:
        ConfigError: if it exists, or no folder can be there.
    """
    path, suffix = Path(out).expanduser(), getattr(form, "SUFFIX", "")
    if path.suffix.lower() != suffix and suffix:
        path = path.with_name(path.name + suffix)
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another out= or move it away")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ConfigError(f"{path}: could not be written, {above} is not a folder; choose another out=")
    return path


def export_head(name: str, job: Job, out: str | Path, tolerance: float | None = None) -> dict[str, Any]:
    """Write a head in a format, check it against the head on real vectors, and only then show it under its name.

    Args:
        name: of the format.
        job: what is exported.
        out: where to; must not exist yet.
        tolerance: largest difference allowed; None takes the format's own.

    Returns:
        The manifest, as it is in `manifest.json`.

    Raises:
        ConfigError: if the format or one of its settings is unknown, or `out` exists.
        ArtifactError: if what was written does not agree with the head, or the disk refuses; nothing is left of it.
    """
    form = format_named(name, job.options)
    out = Path(out).expanduser()
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another out= or move it away")
    allowed: Tolerance = form.tolerance(job)
    if tolerance is not None:
        allowed = Tolerance(tolerance, allowed.cosine)
    # no dot: transformers makes a module's name of it, where the head's code lies in the folder
    unfinished = out.with_name(f"{out.name}_part_{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        about = form.write(job, unfinished)
        expected, got = job.reference(), form.read_back(job, unfinished)
        verification, loss = compare(expected, got, allowed), 1.0 - kept_overlap(expected, got)
        manifest = {
            "format": name,
            "alignkit_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "head": _describe_head(job),
            **about,
            "verification": {
                "vectors": len(job.vectors),
                "vectors_from": job.vectors_from,
                **verification,
                "overlap@10_loss": loss,
            },
            "files": {path.relative_to(unfinished).as_posix(): file_digest(path) for path in _files(unfinished)},
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
        (unfinished / MANIFEST).write_text(text, encoding="utf-8")
        if hasattr(form, "pack"):
            form.pack(unfinished, out)
        else:
            if sys.platform == "win32":  # renames no folder of which a file is mapped by a model that was just checked
                gc.collect()
            move(unfinished, out)
    except OSError as error:
        reason = error.strerror or error
        raise ArtifactError(
            f"{out}: could not be written ({reason}), nothing was left there; {way_out(error)}"
        ) from None
    except SafetensorError as error:  # it wraps what the disk says
        raise ArtifactError(f"{out}: could not be written ({error}), nothing was left there") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def _describe_head(job: Job) -> dict[str, Any]:
    return {
        "kind": job.head.kind(),
        "role": job.role,
        "student_dim": job.head.student_dim,
        "teacher_dim": job.head.teacher_dim,
        "weights_sha256": job.artifact.digest(),
        "student_identity": job.artifact.student_identity,
        "teacher_identity": job.artifact.teacher_identity,
        "metrics": job.artifact.metrics,
    }


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
