"""`data=cached`: a file of sentences; the teacher's vectors from the cache, the student's through it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import DataError
from alignkit.pairs.base import MIN_PAIRS, Origin, Pairs, PairSplits
from alignkit.pairs.cached_sides import CachedSides, check_role
from alignkit.sentences.records import Sentence
from alignkit.sentences.sentence_files import read_sentences
from alignkit.sentences.splits import merge_equal_texts, split_groups
from alignkit.sentences.text_fields import fields_of_file


def load_cached(
    path: str,
    student: Embedder | None,
    teacher: Embedder,
    cache_dir: str = "cache",
    student_live: bool = True,
    text_column: str = "text",
    role: Role = "document",
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> PairSplits:
    """Pairs of a file's sentences. The teacher is never called, and where all is cached no server is needed.

    Args:
        path: `.txt`, `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        student: embeds what the cache lacks, unless `student_live` is False; `None` gives the teacher's side alone.
        teacher: only its settings are looked at.
        cache_dir: folder of the vector cache.
        student_live: False: the student's vectors too come from the cache only.
        text_column: where the text stands.
        role: whose prompt the vectors were made with, `query` or `document`.
        validation: share of the sentences.
        test: likewise.
        seed: of the split; equal texts (but for case and punctuation) stay together.

    Raises:
        DataError: if the file cannot be used, or too few sentences are left.
        MissingVectorsError: if the cache lacks vectors; it says how many, and of which side.
        EmbedderError: if the student has to be asked and cannot.
    """
    check_role(role)
    sentences = read_sentences(path, text_column)
    distinct = list({sentence.text: sentence for sentence in reversed(sentences)}.values())[::-1]
    try:
        with VectorCache(cache_dir) as cache:
            sides = CachedSides(cache, student, teacher, Path(cache_dir), role, student_live).both(distinct)
            kept = sides.sentences
            if len(kept) < MIN_PAIRS:
                both = "both vectors" if student is not None else "a vector"
                raise DataError(
                    f"{path}: {len(kept)} sentences with {both}, expected at least {MIN_PAIRS}; add sentences"
                )
            splits = split_groups(merge_equal_texts(sides.texts), seed=seed, validation=validation, test=test)
            labelled = any(sentence.label is not None for sentence in kept)
            train, held_out, test_pairs = (_take(kept, rows, sides.arrays(cache, rows), labelled) for rows in splits)
    finally:
        for side in (student, teacher):
            if side is not None:
                side.close()
    origin = Origin(
        source=f"{Path(path).name}: {len(kept):,} sentences, vectors from the cache",
        split="seeded shares of the sentences, equal texts together",
        student_identity=sides.student_identity,
        teacher_identity=sides.teacher_identity,
        sentences=len(sentences),
        repetitions=len(sentences) - len(distinct),
        quarantined=sides.quarantined,
        cut=sides.cut,
        fields=(fields_of_file(path, text_column),),
    )
    return PairSplits(train=train, validation=held_out, test=test_pairs, origin=origin)


def _take(
    sentences: Sequence[Sentence], rows: np.ndarray, vectors: tuple[np.ndarray, np.ndarray], labelled: bool
) -> Pairs:
    taken = [sentences[row] for row in rows]
    student, teacher = vectors
    return Pairs(
        ids=[one.id for one in taken],
        student=student,
        teacher=teacher,
        texts=[one.text for one in taken],
        # a sentence without a label is relevant to none, so that its label is its own
        labels=[f"(none) {one.id}" if one.label is None else one.label for one in taken] if labelled else None,
        groups=[one.label or "(none)" for one in taken] if labelled else None,
    )
