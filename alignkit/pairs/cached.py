"""`data=cached`: a file of sentences; the teacher's vectors from the cache, the student's through it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from alignkit.cache import VectorCache
from alignkit.cache.stored import StoredVectors
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import CacheError, ConfigError, DataError
from alignkit.pairs.base import MIN_PAIRS, Pairs, PairSplits
from alignkit.sentences.files import read_sentences
from alignkit.sentences.records import Sentence
from alignkit.sentences.splits import merge_equal_texts, split_groups

logger = logging.getLogger(__name__)

# smaller splits are read at once; larger ones stay on disk, and the rows of a batch are read when it is made
IN_MEMORY_BYTES = 512 * 1024 * 1024


def load_cached(
    path: str,
    student: Embedder,
    teacher: Embedder,
    cache_dir: str = "cache",
    student_live: bool = True,
    text_column: str = "text",
    role: Role = "document",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    chosen: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> PairSplits:
    """Pairs of a file's sentences. The teacher is never called, and where all is cached no server is needed.

    Args:
        path: `.txt`, `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        student: embeds what the cache lacks, unless `student_live` is False.
        teacher: only its settings are looked at.
        cache_dir: folder of the vector cache.
        student_live: False: the student's vectors too come from the cache only.
        text_column: where the text stands.
        role: whose prompt the vectors were made with, `query` or `document`.
        validation: share of the sentences.
        test: likewise.
        seed: of the split; equal texts (but for case and punctuation) stay together.
        chosen: names of the embedders on the command line, for the command that a message gives.
        overrides: the command line, likewise.

    Raises:
        DataError: if the file cannot be used, or too few sentences are left.
        CacheError: if vectors are missing; it says how many, and the command that gets them.
        EmbedderError: if the student has to be asked and cannot.
    """
    if role not in ("query", "document"):
        raise ConfigError(f"data.role={role}: expected query or document")
    sentences = read_sentences(path, text_column)
    distinct = list({sentence.text: sentence for sentence in reversed(sentences)}.values())[::-1]
    try:
        with VectorCache(cache_dir) as cache:
            sides = _Sides(cache, role, Path(path), Path(cache_dir), chosen or {}, overrides)
            kept, teacher_identity, no_teacher = sides.stored("teacher", teacher, distinct)
            if student_live:
                report = cache.fill(student, [sentence.text for sentence in kept], role)
                logger.info("student: %d sentences embedded, %d cached", report.new, report.cached)
            kept, student_identity, no_student = sides.stored("student", student, kept)
            if len(kept) < MIN_PAIRS:
                raise DataError(
                    f"{path}: {len(kept)} sentences with both vectors, expected at least {MIN_PAIRS}; add sentences"
                )
            texts = [sentence.text for sentence in kept]
            vectors = cache.vectors_of(student_identity, texts), cache.vectors_of(teacher_identity, texts)
    finally:
        student.close()
        teacher.close()
    splits = split_groups(merge_equal_texts(texts), seed=seed, validation=validation, test=test)
    train, held_out, test_pairs = (_take(kept, rows, *vectors) for rows in splits)
    meta = {
        "source": f"{Path(path).name}: {len(kept):,} sentences, vectors from the cache",
        "real": True,
        "split": "seeded shares of the sentences, equal texts together",
        "student_identity": student_identity,
        "teacher_identity": teacher_identity,
        "sentences": len(sentences),
        "repetitions": len(sentences) - len(distinct),
        "quarantined": {"teacher": no_teacher, "student": no_student},
    }
    return PairSplits(train=train, validation=held_out, test=test_pairs, meta=meta)


class _Sides:
    """Looks up one side's vectors, and words what to do where some are missing."""

    def __init__(
        self,
        cache: VectorCache,
        role: Role,
        path: Path,
        cache_dir: Path,
        chosen: Mapping[str, str],
        overrides: Sequence[str],
    ) -> None:
        self._cache, self._role, self._path, self._cache_dir = cache, role, path, cache_dir
        self._chosen, self._overrides = chosen, overrides

    def stored(
        self, side: str, embedder: Embedder, sentences: Sequence[Sentence]
    ) -> tuple[list[Sentence], dict[str, Any], int]:
        """Sentences that have a vector, whose vectors these are, and how many were quarantined."""
        texts = [sentence.text for sentence in sentences]
        identity = self._cache.remembered(embedder.settings(self._role))
        if identity is None:
            raise self._missing(side, len(texts), len(texts))
        lacking = set(self._cache.missing(identity, texts).tolist())
        quarantined = lacking & self._cache.quarantined(identity, texts).keys()
        if lacking - quarantined:
            raise self._missing(side, len(lacking - quarantined), len(texts))
        if quarantined:
            logger.warning("%d sentences are left out: the %s has no vector of them", len(quarantined), side)
        kept = [sentence for position, sentence in enumerate(sentences) if position not in quarantined]
        return kept, identity, len(quarantined)

    def _missing(self, side: str, count: int, total: int) -> CacheError:
        words = ["python -m alignkit.embed", f"which={side}", f"sentences={self._path}", f"cache_dir={self._cache_dir}"]
        if side in self._chosen:
            words.append(f"{side}={self._chosen[side]}")
        words += [word for word in self._overrides if word.startswith(f"{side}.")]
        if self._role != "document":
            words.append(f"role={self._role}")
        return CacheError(
            f"{count} of {total} sentences have no {side} vector in {self._cache_dir}; get them with: {' '.join(words)}"
        )


def _take(sentences: Sequence[Sentence], rows: np.ndarray, student: StoredVectors, teacher: StoredVectors) -> Pairs:
    labels = [sentences[row].label for row in rows]
    return Pairs(
        ids=[sentences[row].id for row in rows],
        student=_array(student.take(rows)),
        teacher=_array(teacher.take(rows)),
        texts=[sentences[row].text for row in rows],
        labels=labels if labels and None not in labels else None,
    )


def _array(vectors: StoredVectors) -> np.ndarray:
    size_bytes = vectors.shape[0] * vectors.shape[1] * vectors.dtype.itemsize
    return np.asarray(vectors) if size_bytes <= IN_MEMORY_BYTES else cast(np.ndarray, vectors)
