"""What a run of `train` leaves for those who measure its head: baselines, and which sentences it was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.artifact import find_head, load_artifact
from alignkit.errors import AlignkitError, ArtifactError
from alignkit.heads.base import Head
from alignkit.pairs.base import PairSplits
from alignkit.pairs.demo import PACK, STUDENTS
from alignkit.pairs.fingerprints import vector_fingerprints
from alignkit.sentences.normalise import normalise_text

BASELINES = ("ridge", "mean")
FINGERPRINTS, VECTOR_FINGERPRINTS = "training_texts.npy", "training_vectors.npy"
# of more vectors none are kept: they would be read once more, and fill 80 MB
MOST_VECTORS = 10_000_000


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
    """The run folder that a head lies in, `None` for a bare head and for a bundle.

    Raises:
        ArtifactError: if there is no head.
    """
    if Path(head).expanduser().is_file():
        return None
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


def save_fingerprints(run: Path, splits: PairSplits) -> None:
    """Keep which sentences, or vectors where a side has no sentences, the head of a run was trained on.

    Raises:
        AlignkitError: if they cannot be written.
    """
    trained_on = splits.train, splits.validation
    kept = {}
    if texts := [text for part in trained_on for text in part.texts or ()]:
        kept[FINGERPRINTS] = text_fingerprints(texts)
    bare = any(part.texts is None for part in (*trained_on, splits.test))
    if bare and sum(map(len, trained_on)) <= MOST_VECTORS:
        kept[VECTOR_FINGERPRINTS] = np.concatenate([vector_fingerprints(part.student) for part in trained_on])
    for name, fingerprints in kept.items():
        try:
            np.save(run / name, fingerprints, allow_pickle=False)
        except OSError as error:
            raise AlignkitError(f"{run / name}: could not be written ({error.strerror})") from None


def training_fingerprints(run: Path | None, name: str = FINGERPRINTS) -> np.ndarray | None:
    """Of the sentences, or the vectors, that the head of a run was trained on; `None` where they were not kept.

    Raises:
        ArtifactError: if the file holds anything else.
    """
    if run is None or not (run / name).is_file():
        return None
    try:
        found = np.load(run / name, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        found, reason = None, str(error).splitlines()[0]
    else:
        reason = f"it holds {found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "an archive"
    if not isinstance(found, np.ndarray) or found.dtype != np.uint64 or found.ndim != 1:
        raise ArtifactError(
            f"{run / name}: not what train keeps of its training pairs ({reason}); copy the run again, or remove it"
        )
    return found


def seen_in_training(texts: Sequence[str], fingerprints: np.ndarray) -> np.ndarray:
    """`(N,)` bool: whether each text is one of those that the fingerprints are of."""
    return np.isin(text_fingerprints(texts), fingerprints)


def demo_student(identity: Mapping[str, Any] | None) -> str | None:
    """Which student of the demo pack a head was trained on, `None` where it was another."""
    about = json.loads((PACK / "pack.json").read_text(encoding="utf-8"))
    return next((name for name in STUDENTS if about["identities"][name] == identity), None)
