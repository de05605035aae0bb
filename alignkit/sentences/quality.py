"""Whether a built set is any good: figures of its texts, and of what two embedders make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.sentences.normalise import words
from alignkit.sentences.overlap import word_overlap
from alignkit.sentences.records import Sample

FAR = 0.6
_BLOCK_ROWS = 256


@dataclass(frozen=True)
class TextFigures:
    """Figures that need no model; None if there is nothing to measure.

    Attributes:
        samples: how many were measured.
        words_mean: words per text (characters for Chinese); `words_p05` and `words_p95` likewise.
        vocabulary: distinct words.
        paraphrases_far: share of paraphrases that have less than 60% of their words in common with the anchor.
        paraphrase_overlap: mean share of a paraphrase's words that its anchor has; `negative_overlap` likewise.
    """

    samples: int
    words_mean: float
    words_p05: float
    words_p95: float
    vocabulary: int
    paraphrases_far: float | None
    paraphrase_overlap: float | None
    negative_overlap: float | None


@dataclass(frozen=True)
class JudgedFigures:
    """Figures by embedders; None if no sample has both paraphrases and hard negatives.

    Attributes:
        samples: how many were embedded.
        judge: share of samples in which the judge (the teacher) ranks a paraphrase above every hard negative.
        recall_at_1: share of the anchors whose nearest text, of all other texts, is a paraphrase of theirs, for the
            student, or for the judge if there is no student.
        by: whose recall it is.
    """

    samples: int
    judge: float | None
    recall_at_1: float | None
    by: str


def measure_texts(samples: Sequence[Sample]) -> TextFigures:
    """Lengths, vocabulary and lexical overlap of samples."""
    split = [words(text) for sample in samples for text in sample.texts()]
    lengths = np.array([len(one) for one in split])
    far = [word_overlap(sample.text, other) for sample in samples for other in sample.paraphrases]
    close = [word_overlap(sample.text, other.text) for sample in samples for other in sample.hard_negatives]
    return TextFigures(
        samples=len(samples),
        words_mean=float(lengths.mean()),
        words_p05=float(np.percentile(lengths, 5)),
        words_p95=float(np.percentile(lengths, 95)),
        vocabulary=len({word for one in split for word in one}),
        paraphrases_far=float(np.mean(np.array(far) < FAR)) if far else None,
        paraphrase_overlap=float(np.mean(far)) if far else None,
        negative_overlap=float(np.mean(close)) if close else None,
    )


def judge_samples(
    samples: Sequence[Sample], teacher: np.ndarray | None = None, student: np.ndarray | None = None
) -> JudgedFigures | None:
    """Figures by two models; None without any vectors.

    Args:
        samples: S samples, whose texts, one after the other, are the T rows of both arrays.
        teacher: `(T, teacher_dim)`: judges paraphrases against hard negatives.
        student: `(T, student_dim)`: searches.
    """
    searcher = teacher if student is None else student
    if searcher is None:
        return None
    return JudgedFigures(
        samples=len(samples),
        judge=None if teacher is None else _judge(samples, _unit(teacher)),
        recall_at_1=_recall_at_1(samples, _unit(searcher)),
        by="teacher" if student is None else "student",
    )


def _judge(samples: Sequence[Sample], vectors: np.ndarray) -> float | None:
    won: list[bool] = []
    start = 0
    for sample in samples:
        count, paraphrases = len(sample.texts()), len(sample.paraphrases)
        if paraphrases and sample.hard_negatives:
            cosine = vectors[start + 1 : start + count] @ vectors[start]
            won.append(bool(cosine[:paraphrases].max() > cosine[paraphrases:].max()))
        start += count
    return float(np.mean(won)) if won else None


def _recall_at_1(samples: Sequence[Sample], vectors: np.ndarray) -> float | None:
    counts = np.array([len(sample.texts()) for sample in samples])
    anchors = np.cumsum(counts) - counts
    paraphrases = np.array([len(sample.paraphrases) for sample in samples])
    asked = np.flatnonzero(paraphrases)
    if not len(asked):
        return None
    hits = 0
    for begin in range(0, len(asked), _BLOCK_ROWS):
        rows = asked[begin : begin + _BLOCK_ROWS]
        similarity = vectors[anchors[rows]] @ vectors.T
        similarity[np.arange(len(rows)), anchors[rows]] = -np.inf
        place = similarity.argmax(axis=1) - anchors[rows]
        hits += int(((place >= 1) & (place <= paraphrases[rows])).sum())
    return hits / len(asked)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
