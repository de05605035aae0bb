"""More training texts for nothing but calls of the teacher: made up out of the training texts.

They bring a head on a transformer up to four points, and cost it none. They bring a table one to two points on short
requests, and may cost it more on long texts, so that nobody gets them unasked.
MiniLM as the teacher, 6,000 sentences of other sources than all that is judged, and three made-up texts for each;
cosine and overlap@10 on CLINC150, then StackFAQ and Cranfield:

- a table, linear head: .755, .648, 94.7%, 87.8%; with parts and two in one .765, .647, 94.9%, 88.7%; with the table
  fitted to these too .778, .655, 94.3%, 81.2%, and so it is not.
- the table under an `mlp`, trained on 48,000 texts either way: .756, .650, 94.3%, 85.9%; with all kinds .772, .661,
  93.9%, 78.8%.
- two layers as they are, under an `mlp`: .676, .590, 91.8%, 48.2%; with all kinds .720, .635, 92.0%, 51.1%.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np

from alignkit.cache import KeyedTexts, VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import EmbedderError
from alignkit.pairs.base import Pairs, PairSplits, no_student
from alignkit.pairs.cached_sides import IN_MEMORY_BYTES, as_array
from alignkit.pairs.same_teacher import check_same_teacher
from alignkit.pairs.views import JoinedRows, RowIds
from alignkit.progress import progress
from alignkit.sentences.made_up import make_up


@dataclass(frozen=True)
class MoreTexts:
    """What was made up.

    Attributes:
        texts: that were added to the training texts.
        calls: of the teacher; those that the cache had are not counted.
        wanted: texts that would have been made up without a budget.
    """

    texts: int = 0
    calls: int = 0
    wanted: int = 0


def with_more_texts(
    splits: PairSplits,
    teacher: Embedder,
    cache_dir: str | Path,
    *,
    share: float,
    most: int,
    role: Role = "document",
    seed: int = 0,
    avoid: Iterable[str] = (),
) -> tuple[PairSplits, MoreTexts]:
    """The same splits with more training texts, and the teacher's vectors of them.

    Args:
        splits: with texts and without a student's vectors.
        teacher: asked through the cache for what is made up. If it is not known whether it made the vectors of
            `splits`, it is asked for a few of the training texts as well.
        cache_dir: of the vector cache.
        share: made-up texts for each training text.
        most: of them in all.
        role: whose prompt the teacher uses.
        seed: of what is made up.
        avoid: texts that are looked at later, beside validation and test texts: no made-up text equals one.

    Raises:
        ConfigError: if the teacher gives the training texts other vectors than they have.
        EmbedderError: if the teacher fails.
        CacheError: if the cache cannot be written.
    """
    train = splits.train
    wanted = round(share * len(train))
    known = chain(splits.validation.texts or (), splits.test.texts or (), avoid)
    made = make_up(train.texts or (), min(wanted, most), seed, known)
    if not made:
        return splits, MoreTexts(wanted=wanted)
    with VectorCache(cache_dir) as cache, progress("teacher, made-up texts", "texts") as counted:
        if splits.origin.teacher_identity is None:
            check_same_teacher(train, teacher, cache, role, "take augment=0")
        counted.begin(len(made))
        report = cache.fill(teacher, made, role, counted.advance)
        there = [text for text in made if text not in report.quarantined]
        if not there:
            reason = next(iter(report.quarantined.values()))
            raise EmbedderError(f"the teacher gave a vector for none of {len(made):,} made-up texts: {reason}")
        vectors = as_array(cache.vectors_of(cache.identity_of(teacher, role), KeyedTexts(there)))
    note = f"{len(there):,} of the training texts were made up out of the others"
    origin = replace(splits.origin, notes=(*splits.origin.notes, note))
    splits = replace(splits, train=_longer(train, there, vectors), origin=origin)
    return splits, MoreTexts(len(there), report.new, wanted)


def _longer(pairs: Pairs, texts: list[str], vectors: np.ndarray) -> Pairs:
    """The pairs with further ones behind them, each of a label of its own."""
    ids, count = RowIds(np.arange(len(texts)), "made-up-"), len(texts)
    negatives = pairs.negatives
    if negatives is not None:
        negatives = np.concatenate([negatives, np.full((count, negatives.shape[1]), -1, dtype=negatives.dtype)])
    return Pairs(
        ids=[*pairs.ids, *ids],
        student=no_student(len(pairs) + count),
        teacher=_joined(pairs.teacher, vectors),
        texts=[*(pairs.texts or ()), *texts],
        labels=None if pairs.labels is None else [*pairs.labels, *ids],
        negatives=negatives,
        groups=None if pairs.groups is None else [*pairs.groups, *["(made up)"] * count],
    )


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    size_bytes = 4 * (len(first) + len(second)) * first.shape[1]
    if size_bytes <= IN_MEMORY_BYTES:
        return np.concatenate([np.asarray(first), np.asarray(second)], dtype=np.float32)
    return cast(np.ndarray, JoinedRows(first, second))
