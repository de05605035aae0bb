"""What a run of `train` leaves for those who measure its head: baselines, and which sentences it was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.artifact import find_head, load_artifact
from alignkit.errors import ArtifactError
from alignkit.heads.base import Head
from alignkit.pairs.demo import PACK, STUDENTS
from alignkit.sentences.normalise import normalise_text

BASELINES = ("ridge", "mean")
FINGERPRINTS = "training_texts.npy"


def newest_run(folder: str | Path = "outputs/train") -> Path:
    """The run that finished last, sweeps included.

    Raises:
        ArtifactError: if there is none.
    """
    finished = list(Path(folder).glob("*/metrics.json")) + list(Path(folder).glob("*/*/metrics.json"))
    runs = [path.parent for path in finished if (path.parent / "head" / "head.json").is_file()]
    if not runs:
        raise ArtifactError(f"{folder}: no finished run there; train one with python -m alignkit.train, or give head=")
    return max(runs, key=lambda run: (run / "metrics.json").stat().st_mtime_ns)


def run_of(head: str | Path) -> Path | None:
    """The run folder that a head lies in, `None` for a bare head.

    Raises:
        ArtifactError: if there is no head.
    """
    run = find_head(head).parent
    return run if (run / "baselines").is_dir() else None


def load_baselines(run: Path | None) -> dict[str, Head]:
    """`ridge` and `mean` as they were kept by `train`; none for a bare head.

    Raises:
        ArtifactError: if one is damaged.
    """
    if run is None:
        return {}
    return {
        name: load_artifact(run / "baselines" / name).head
        for name in BASELINES
        if (run / "baselines" / name / "head.json").is_file()
    }


def text_fingerprints(texts: Sequence[str]) -> np.ndarray:
    """8 bytes a text, the same for texts that differ in case, width, punctuation or spacing only: `(N,)` uint64.

    >>> bool(text_fingerprints(["Hello!"])[0] == text_fingerprints(["hello"])[0])
    True
    """
    digests = [
        hashlib.blake2b(normalise_text(text).encode("utf-8", "replace"), digest_size=8).digest() for text in texts
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def training_fingerprints(run: Path | None) -> np.ndarray | None:
    """Of the sentences that the head of a run was trained on; `None` where they were not kept."""
    if run is None or not (run / FINGERPRINTS).is_file():
        return None
    return np.load(run / FINGERPRINTS, allow_pickle=False)


def seen_in_training(texts: Sequence[str], fingerprints: np.ndarray) -> np.ndarray:
    """`(N,)` bool: whether each text is one of those that the fingerprints are of."""
    return np.isin(text_fingerprints(texts), fingerprints)


def demo_student(identity: Mapping[str, Any] | None) -> str | None:
    """Which student of the demo pack a head was trained on, `None` where it was another."""
    about = json.loads((PACK / "pack.json").read_text(encoding="utf-8"))
    return next((name for name in STUDENTS if about["identities"][name] == identity), None)
