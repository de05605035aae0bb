"""Pairs that a head shall be fitted without: any number of them, in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import ConfigError, DataError
from alignkit.pairs.base import Pairs
from alignkit.pairs.cached_sides import CachedSides
from alignkit.pairs.views import RowIds
from alignkit.sentences.sentence_files import read_sentences
from alignkit.vector_files import check_vectors, open_vectors


def load_forgotten(student: str | None, teacher: str | None, sentences: str | None = None) -> Pairs:
    """Pairs of two files whose row i is the same sentence.

    Args:
        student: `.npy`, `.npz` or `.safetensors` of `(N, student_dim)`.
        teacher: the same of `(N, teacher_dim)`.
        sentences: file of the N sentences in the order of the rows.

    Raises:
        ConfigError: if one file is given without the other.
        DataError: if a file cannot be used, or they do not go together.
    """
    if student is None or teacher is None:
        raise ConfigError("forget.student and forget.teacher go together; give both vectors of every pair")
    sides = open_vectors(student), open_vectors(teacher)
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{student} has {len(sides[0])} rows, {teacher} has {len(sides[1])}; row i of both must be the same "
            "sentence"
        )
    for side, path in zip(sides, (student, teacher), strict=True):
        check_vectors(side, path)
    texts = None
    if sentences is not None:
        texts = [sentence.text for sentence in read_sentences(sentences)]
        if len(texts) != len(sides[0]):
            raise DataError(
                f"{sentences} has {len(texts)} sentences, {student} has {len(sides[0])} rows; expected one a row"
            )
    return Pairs(RowIds(np.arange(len(sides[0]))), *sides, texts=texts)


def cached_forgotten(
    sentences: str, student: Embedder, teacher: Embedder, cache_dir: str, text_column: str = "text",
    role: Role = "document",
) -> Pairs:  # fmt: skip
    """Pairs of a file's sentences, both vectors from the cache; no model is called.

    Args:
        sentences: the file.
        student: only its settings are looked at.
        teacher: likewise.
        cache_dir: folder of the vector cache.
        text_column: where the text stands.
        role: whose prompt the vectors were made with.

    Raises:
        DataError: if the file cannot be used.
        MissingVectorsError: if the cache lacks vectors.
    """
    distinct = list({one.text: one for one in read_sentences(sentences, text_column)}.values())
    try:
        with VectorCache(cache_dir) as cache:
            sides = CachedSides(cache, student, teacher, Path(cache_dir), role, live=False).both(distinct)
            vectors = sides.arrays(cache, np.arange(len(sides.sentences)))
            return Pairs([one.id for one in sides.sentences], *vectors, texts=[one.text for one in sides.sentences])
    finally:
        student.close()
        teacher.close()
