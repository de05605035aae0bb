"""A repository for the Hub, as `hf://user/repo` is read: the head, its student, its figures and a card; no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.agreement import Tolerance
from alignkit.exporters.base import Job
from alignkit.exporters.card_usage import head_usage
from alignkit.exporters.head_folder import SAME, apply_head, put_head
from alignkit.exporters.model_card import CARD, card_text
from alignkit.exporters.run_record import METRICS, RunRecord

OPTIONS: frozenset[str] = frozenset()
CARRIES_MODELS = False


def tolerance(job: Job) -> Tolerance:
    """The same numbers in the same operations."""
    return SAME


def write(job: Job, folder: Path) -> dict[str, Any]:
    """The head, the student that was trained with it, their figures, and the card."""
    put_for_alignkit(job, folder)
    (folder / CARD).write_text(card_text(job, head_usage(job), library="alignkit"), encoding="utf-8")
    return {}


def put_for_alignkit(job: Job, folder: Path) -> None:
    """What `hf://user/repo` needs, into a folder that may hold another format already."""
    put_head(job, folder)
    record = RunRecord.beside(job.origin)
    if record.rows:
        text = json.dumps(record.published(), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / METRICS).write_text(f"{text}\n", encoding="utf-8")


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Load the head as saved."""
    return apply_head(job, folder)
