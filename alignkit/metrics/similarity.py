"""How similar two spaces are, and whether one of them has degenerated.

Every function raises a `DataError` where shapes do not fit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alignkit.shapes import check_shapes


def linear_cka(first: Tensor, second: Tensor) -> float | None:
    """Similarity of two sets of vectors of the same N texts: about 0 if unrelated, 1 if equal up to rotation.

    Linear centred kernel alignment with the unbiased estimate of HSIC. The plain estimate is far above 0 for unrelated
    vectors once they have as many dimensions as there are texts.

    Args:
        first: `(N, D1)`.
        second: `(N, D2)`.

    Returns:
        At most 1; `None` for fewer than 4 texts or if one side is constant.

    Source: Kornblith et al., ICML 2019 (CKA); Song et al., JMLR 13 (2012), eq. 5 (unbiased HSIC); Nguyen et al.,
    ICLR 2021 (the two together).

    >>> rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> points = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0], [-2.0, 0.5], [0.3, 0.3]])
    >>> round(linear_cka(points, points @ rotation), 6)
    1.0
    """
    check_shapes(first=(first, "N D1"), second=(second, "N D2"))
    return cka_of_grams(hollow_gram(first), hollow_gram(second))


def cka_of_grams(one: Tensor, two: Tensor) -> float | None:
    """As `linear_cka`, of what `hollow_gram` gave for each side: one side's may serve many comparisons.

    Args:
        one: `(N, N)`.
        two: `(N, N)`.
    """
    check_shapes(one=(one, "N N"), two=(two, "N N"))
    if len(one) < 4:
        return None
    across, own, other = _unbiased_hsic(one, two), _unbiased_hsic(one, one), _unbiased_hsic(two, two)
    # a constant side leaves rounding noise only
    tiny = 1e-12 * max(float(one.square().sum()), float(two.square().sum()), 1e-300)
    if own <= tiny or other <= tiny:
        return None
    return min(1.0, across / (own * other) ** 0.5)


def hollow_gram(vectors: Tensor) -> Tensor:
    """Products of the centred vectors, `(N, N)` float64, with zeros on the diagonal.

    Args:
        vectors: `(N, D)`.
    """
    check_shapes(vectors=(vectors, "N D"))
    centered = vectors.double()
    return _gram(centered - centered.mean(dim=0)).fill_diagonal_(0)


def _gram(vectors: Tensor) -> Tensor:
    if vectors.device.type != "cpu":
        return vectors @ vectors.T
    # NumPy sees that both sides are one, and computes half
    side = vectors.numpy()
    return torch.from_numpy(side @ side.T)


def _unbiased_hsic(one: Tensor, two: Tensor) -> float:
    count = len(one)
    sums_one, sums_two = one.sum(dim=0), two.sum(dim=0)
    trace = float((one * two).sum())
    totals = float(sums_one.sum() * sums_two.sum()) / ((count - 1) * (count - 2))
    crossed = 2 * float(sums_one @ sums_two) / (count - 2)
    return (trace + totals - crossed) / (count * (count - 3))


def random_cosine(unit: Tensor) -> float:
    """Mean cosine of two different rows: about 0 where vectors point everywhere, near 1 where they share a large mean.

    Args:
        unit: `(N, D)`, rows of length 1.

    Returns:
        0 for fewer than two rows.

    >>> random_cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])) == 1 / 3
    True
    """
    check_shapes(unit=(unit, "N D"))
    count = len(unit)
    if count < 2:
        return 0.0
    together = float(unit.double().sum(dim=0).square().sum())
    return (together - float(unit.double().square().sum())) / (count * (count - 1))


def effective_rank(vectors: Tensor) -> float:
    """How many dimensions the vectors vary in, from 1 to the width; 0 for constant vectors.

    The exponential of the entropy of the normalised singular values of the centred vectors.

    Args:
        vectors: `(N, D)`.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007, definition 1.

    >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
    2.0
    """
    check_shapes(vectors=(vectors, "N D"))
    centered = vectors.double() - vectors.double().mean(dim=0)
    # the eigenvalues of the smaller Gram matrix are far cheaper than a singular value decomposition
    gram = _gram(centered if len(centered) < centered.shape[1] else centered.T)
    values = torch.from_numpy(np.linalg.eigvalsh(gram.cpu().numpy())).clamp_min(0).sqrt()
    # what centring leaves of a constant is rounding error
    scale = float(vectors.double().square().sum().sqrt())
    values = values[values > 1e-6 * scale]
    if not len(values):
        return 0.0
    share = values / values.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def collapsed_dimensions(vectors: Tensor, reference: Tensor, tolerance: float = 0.01) -> float:
    """Share of dimensions that hardly vary: their spread is below `tolerance` times the reference's.

    Args:
        vectors: `(N, D)`.
        reference: `(M, D)`, vectors known to be sound (the teacher's). Dimensions in which these do not vary either are
            not counted.
        tolerance: a fraction.

    >>> collapsed_dimensions(torch.tensor([[1.0, 0.0], [1.0, 5.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    0.5
    """
    check_shapes(vectors=(vectors, "N D"), reference=(reference, "M D"))
    if min(len(vectors), len(reference)) < 2:
        return 0.0  # one vector has no spread
    spread, expected = vectors.float().std(dim=0), reference.float().std(dim=0)
    alive = expected > tolerance * expected.max()
    if not alive.any():
        return 0.0
    return float((spread[alive] < tolerance * expected[alive]).double().mean())


def hubness_skew(found: np.ndarray, corpus_rows: int) -> float:
    """Skewness of how often each corpus row is found: 0 if all are found alike, above 3 if a few are found everywhere.

    Args:
        found: `(Q, K)` corpus rows, -1 where nothing was found.
        corpus_rows: C.

    Source: Radovanovic, Nanopoulos and Ivanovic, Hubs in space, JMLR 11 (2010), eq. 1.

    >>> hubness_skew(np.array([[0], [1], [2]]), corpus_rows=3)
    0.0
    """
    check_shapes(found=(found, "Q K"))
    counts = np.bincount(found[found >= 0], minlength=corpus_rows).astype(np.float64)
    away = counts - counts.mean()
    return float((away**3).mean() / (away**2).mean() ** 1.5) if np.ptp(counts) > 0 else 0.0


def share_of_constant_rows(vectors: Tensor) -> float:
    """Largest share of rows that point in the same direction (to 4 decimals), in (0, 1].

    Args:
        vectors: `(N, D)`.

    >>> share_of_constant_rows(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    0.5
    """
    check_shapes(vectors=(vectors, "N D"))
    directions = torch.nn.functional.normalize(vectors.float(), dim=1)
    _, counts = torch.unique((directions * 1e4).round(), dim=0, return_counts=True)
    return float(counts.max()) / len(vectors)
