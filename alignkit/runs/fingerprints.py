"""Which sentences the head of a run was trained on, and which words they had, told by 8 bytes each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from alignkit.errors import AlignkitError, ArtifactError
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import PairSplits
from alignkit.pairs.vector_fingerprints import among, vector_fingerprints
from alignkit.runs.training_tokens import TRAINING_TOKENS, seen_tokens
from alignkit.sentences.normalise import digest_of, words

FINGERPRINTS, VECTOR_FINGERPRINTS = "training_texts.npy", "training_vectors.npy"
WORD_FINGERPRINTS = "training_words.npy"
# of more texts a sample is read for its words, which takes a second
MOST_READ = 100_000
# no fingerprints are kept of more vectors: the vectors would be read once more, and the file would take 80 MB
MOST_VECTORS = 10_000_000


def text_fingerprints(texts: Sequence[str]) -> np.ndarray:
    """8 bytes a text, the same for texts that differ in case, width, punctuation or spacing only: `(N,)` uint64.

    >>> bool(text_fingerprints(["Hello!"])[0] == text_fingerprints(["hello"])[0])
    True
    """
    return np.frombuffer(b"".join(map(digest_of, texts)), dtype="<u8").astype(np.uint64)


def word_fingerprints(found: Iterable[str]) -> np.ndarray:
    """8 bytes a word of `sentences.normalise.words`: `(N,)` uint64."""
    digests = [hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest() for word in found]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def save_fingerprints(
    run: Path, splits: PairSplits, earlier: Path | None = None, forgotten: Mapping[str, np.ndarray] | None = None
) -> None:
    """Keep which sentences, or vectors where a side has no sentences, the head of a run was trained on.

    Of the sentences also their words, and where the student is a table their tokens, which tell what a later text has
    that none of them had.

    Args:
        run: its folder.
        splits: the pairs.
        earlier: a run whose pairs the head was fitted on too.
        forgotten: file → fingerprints of the earlier run that are not taken over.

    Raises:
        AlignkitError: if they cannot be written.
    """
    trained_on = splits.train, splits.validation
    kept = {}
    if texts := [text for part in trained_on for text in part.texts or ()]:
        kept[FINGERPRINTS] = text_fingerprints(texts)
        read = [texts[row] for row in sample_rows(len(texts), MOST_READ, 0).tolist()]
        kept[WORD_FINGERPRINTS] = word_fingerprints(sorted({word for text in read for word in words(text)}))
        if (tokens := seen_tokens(read, splits.origin.student_identity, run)) is not None:
            kept[TRAINING_TOKENS] = tokens
    bare = any(part.texts is None for part in (*trained_on, splits.test))
    if bare and sum(map(len, trained_on)) <= MOST_VECTORS:
        kept[VECTOR_FINGERPRINTS] = np.concatenate([vector_fingerprints(part.student) for part in trained_on])
    names = (FINGERPRINTS, WORD_FINGERPRINTS, TRAINING_TOKENS, VECTOR_FINGERPRINTS)
    for name in names if earlier is not None else ():
        if (known := training_fingerprints(earlier, name)) is not None:
            known = np.setdiff1d(known, (forgotten or {}).get(name, known[:0]))
            kept[name] = np.union1d(known, kept.get(name, known))
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
    return among(text_fingerprints(texts), fingerprints)
