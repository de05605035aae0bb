"""How near aligned vectors are to the teacher's: cosine, R², pairwise Spearman, shared neighbours.

Pure functions over whole arrays; `collected` has them over batches. Every function raises a `DataError` where shapes do
not fit. Undefined figures are `None`, never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from alignkit.shapes import check_shapes
from alignkit.vectors import cosine, l2_normalize, top_k, unit_cosine

SENTENCE_PAIRS = 20_000
# sentences that the pairs are drawn from: few enough for one matrix product to hold all their similarities
PAIRED_SENTENCES = 1_000
OVERLAP_SENTENCES = 5_000
# that are widened at once
ROWS_AT_ONCE = 256

Row = dict[str, float | None]


def alignment_figures(aligned: Tensor, teacher: Tensor, teacher_mean: Tensor, seed: int = 0) -> Row:
    """All alignment figures of one row of the table.

    Args:
        aligned: `(N, D)`, the head's output, not normalised.
        teacher: `(N, D)`, the teacher's own vectors, rows of length 1.
        teacher_mean: `(D,)`, mean of the training split's normalised teacher vectors.
        seed: of the sample of sentence pairs.

    Returns:
        `cosine_mean`, `cosine_p05`, `cosine_p50`, `cosine_p95`, `cosine_centered_mean`, all in [-1, 1]; `r2` in
        (-inf, 1]; `spearman` in [-1, 1].
    """
    figures = vector_figures(aligned, teacher, teacher_mean)
    return {**figures, "spearman": pairwise_spearman(aligned, teacher, seed=seed)}


def vector_figures(aligned: Tensor, teacher: Tensor, teacher_mean: Tensor) -> Row:
    """As `alignment_figures`, without `spearman`: what compares every vector with the teacher's of the same text.

    Args:
        aligned: `(N, D)`.
        teacher: `(N, D)`, rows of length 1.
        teacher_mean: `(D,)`.
    """
    check_shapes(aligned=(aligned, "N D"), teacher=(teacher, "N D"), teacher_mean=(teacher_mean, "D"))
    aligned = aligned.float()
    unit = l2_normalize(aligned)
    return {
        **cosine_summary(unit_cosine(unit, teacher)),
        "cosine_centered_mean": _number(centered_cosine(unit, teacher, teacher_mean).mean()),
        "r2": r2(aligned, teacher),
    }


def cosine_summary(cosines: Tensor) -> Row:
    """Mean and percentiles of cosines: P5 shows the failures, P95 the best cases.

    Args:
        cosines: `(N,)`.

    >>> cosine_summary(torch.tensor([0.0, 0.5, 1.0]))["cosine_p50"]
    0.5
    """
    check_shapes(cosines=(cosines, "N"))
    names = ("cosine_mean", "cosine_p05", "cosine_p50", "cosine_p95")
    if len(cosines) == 0:
        return dict.fromkeys(names)
    # torch.quantile refuses more than 16M elements
    values = cosines.detach().cpu().double().numpy()
    figures = [values.mean(), *np.quantile(values, [0.05, 0.5, 0.95])]
    return {name: float(figure) for name, figure in zip(names, figures, strict=True)}


def centered_cosine(aligned: Tensor, teacher: Tensor, teacher_mean: Tensor) -> Tensor:
    """Cosine after the training teacher mean is subtracted from both sides.

    A head that predicts that mean for every sentence scores near 0 here, however high its plain cosine is.

    Args:
        aligned: `(N, D)`, rows of length 1.
        teacher: `(N, D)`, rows of length 1.
        teacher_mean: `(D,)`, mean of the training split's normalised teacher vectors.

    Returns:
        `(N,)` in [-1, 1].
    """
    check_shapes(aligned=(aligned, "N D"), teacher=(teacher, "N D"), teacher_mean=(teacher_mean, "D"))
    mean = teacher_mean.to(aligned)
    return cosine(aligned - mean, teacher - mean)


def r2(aligned: Tensor, teacher: Tensor) -> float | None:
    """1 − residual over variance, both summed over dimensions.

    Args:
        aligned: `(N, D)`.
        teacher: `(N, D)`.

    Returns:
        At most 1; `None` where the teacher is constant or there are fewer than two rows.

    >>> r2(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [3.0]]))
    1.0
    """
    check_shapes(aligned=(aligned, "N D"), teacher=(teacher, "N D"))
    mean = teacher.double().mean(dim=0)
    variation = _squares((rows, mean) for rows in teacher.split(ROWS_AT_ONCE))
    if len(teacher) < 2 or variation <= 0:
        return None
    residual = _squares(zip(aligned.split(ROWS_AT_ONCE), teacher.split(ROWS_AT_ONCE), strict=True))
    return _number(1 - residual / variation)


def _squares(sides: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Summed squares of the differences of both sides, in float64, a part at a time: no side is copied whole."""
    return torch.stack([(first.double() - second.double()).square_().sum() for first, second in sides]).sum()


def sentence_pairs(count: int, seed: int = 0, most: int = SENTENCE_PAIRS) -> np.ndarray:
    """A seeded sample of distinct unordered pairs of sentences, or all pairs if there are few: `(P, 2)` rows."""
    rows = sample_rows(count, PAIRED_SENTENCES, seed).numpy()
    first, second = np.triu_indices(len(rows), k=1)
    if len(first) > most:
        chosen = np.random.default_rng(seed).choice(len(first), most, replace=False)
        first, second = first[chosen], second[chosen]
    return np.stack([rows[first], rows[second]], axis=1)


def pairwise_spearman(aligned: Tensor, teacher: Tensor, seed: int = 0) -> float | None:
    """Rank correlation of the aligned and the teacher's similarities over the same pairs of sentences.

    Args:
        aligned: `(N, D1)`; similarities are within each side, so that the widths may differ.
        teacher: `(N, D2)`.
        seed: of the sample of at most 20,000 pairs.

    Returns:
        Spearman's rho in [-1, 1]; `None` for fewer than two pairs or constant similarities.
    """
    check_shapes(aligned=(aligned, "N D1"), teacher=(teacher, "N D2"))
    return spearman(pair_similarities(aligned, seed), pair_similarities(teacher, seed))


def pair_similarities(vectors: Tensor, seed: int = 0) -> np.ndarray:
    """Cosines `(P,)` of the pairs of rows that `sentence_pairs` gives.

    Args:
        vectors: `(N, D)`.
        seed: of the sample.
    """
    check_shapes(vectors=(vectors, "N D"))
    sentences, place = np.unique(sentence_pairs(len(vectors), seed), return_inverse=True)
    pairs = torch.from_numpy(place.reshape(-1, 2))
    unit = l2_normalize(vectors[torch.from_numpy(sentences).to(vectors.device)].float())
    return (unit @ unit.T).cpu()[pairs[:, 0], pairs[:, 1]].numpy()


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rho of two samples; ties get their average rank, `None` where it is undefined.

    Args:
        first: `(P,)`.
        second: `(P,)`.
    """
    check_shapes(first=(first, "P"), second=(second, "P"))
    if len(first) < 2 or not min(np.ptp(first), np.ptp(second)) >= 1e-6:  # NaN is not either
        return None
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """`(P,)` ranks from 1, ties averaged: `scipy.stats.rankdata`, which takes a second to load.

    >>> _ranks(np.array([0.5, 0.1, 0.5])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def overlap_at_k(aligned: Tensor, teacher: Tensor, k: int = 10, seed: int = 0, most: int = OVERLAP_SENTENCES) -> Tensor:
    """Share of the teacher's k nearest sentences that each aligned vector finds among the teacher's vectors.

    A sentence is never its own neighbour.

    Args:
        aligned: `(N, D)`.
        teacher: `(N, D)`, the same sentences.
        k: number of neighbours; all others where there are fewer than k.
        seed: of the sample of sentences, if there are more than `most`.
        most: upper bound on queries and corpus.

    Returns:
        `(min(N, most),)` float32 in [0, 1], one figure per query; empty for fewer than two sentences.
    """
    check_shapes(aligned=(aligned, "N D"), teacher=(teacher, "N D"))
    rows = sample_rows(len(teacher), most, seed).to(teacher.device)
    aligned, teacher = aligned[rows].float(), teacher[rows].float()
    k = min(k, len(rows) - 1)
    if k < 1:
        return teacher.new_zeros(0)
    itself = torch.arange(len(rows), device=teacher.device)
    wanted = top_k(teacher, teacher, k, exclude=itself)[1]
    found = top_k(aligned, teacher, k, exclude=itself)[1]
    return (wanted.unsqueeze(2) == found.unsqueeze(1)).any(dim=2).float().mean(dim=1)


def sample_rows(count: int, most: int, seed: int) -> Tensor:
    """All rows, or a sorted, seeded sample of `most` of them: `(min(count, most),)` int64."""
    if count <= most:
        return torch.arange(count)
    return torch.as_tensor(np.sort(np.random.default_rng(seed).permutation(count)[:most]))


def _number(figure: Tensor) -> float | None:
    value = float(figure)
    return value if np.isfinite(value) else None
