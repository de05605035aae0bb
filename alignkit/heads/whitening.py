"""Queries whitened for search: an affine map behind a head, so that the right text comes first.

A head is fitted to look like the teacher. Given the student's vector, the teacher's is roughly Gaussian around the
head's output `h`, with the covariance Σ of what the head misses; the text most likely to be meant has the largest
Mahalanobis score `dᵀΣ⁻¹(h − μ)`, not the largest cosine with `h`. So the query is mapped, the index is left as it is:

    query = (Σ + ε·mean(Σ)·I)^(−b) · (g·h − κ·μ),   Σ = (Σ_residual + Σ_teacher) / 2, each of trace 1, ε = .1 + D/M

`b = 0, κ = 0` leaves the query as it is; `b = 0, κ > 0` undoes the shrinkage of least squares towards the mean. The
teacher's own covariance stands in for what few residuals cannot tell, and for the documents' own term of the score,
which a search by cosine leaves out. `g` brings outputs of any length to the teacher's scale.

Source: the score is that of linear discriminant analysis with a shared covariance (Hastie, Tibshirani and Friedman, The
Elements of Statistical Learning, section 4.3); mixing in another covariance is regularised discriminant analysis
(Friedman, JASA 84 (1989)).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

# of ε: keeps directions in which hardly anything varies from taking over the score; D/M of M teacher vectors is added,
# since that much of a small eigenvalue is chance
FLOOR = 0.1
# wider covariances are approximated by this many leading directions; the rest get the same variance
WIDEST, LEADING, SWEEPS = 1024, 512, 4


@dataclass(frozen=True)
class Setting:
    """One member of the family.

    Attributes:
        power: b, at least 0.
        centre: κ in [0, 1].
    """

    power: float = 0.0
    centre: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it leaves queries as they are."""
        return self.power == 0 and self.centre == 0


PLAIN = Setting()
# From the mildest to the strongest. Other powers were tried. Stronger ones often win on held-out texts and lose on
# texts of another kind: ridge regression on 3,000 sentences of two sources, both students, StackFAQ's nDCG@10 in
# percent of the teacher's is 90.3, 85.4, 81.8 and 73.6 with power .5, 88.8, 82.3, 79.0 and 70.2 with power 1 (plain
# 84.9, 79.7, 71.2 and 61.1). Power .25 is often about as good on held-out texts, which are easy to find, and worse on
# others: eighteen fits on 300 to 48,000 sentences, both students, StackFAQ 81.9 against 82.7 on average, Cranfield 30.4
# against 32.0.
SETTINGS = (PLAIN, Setting(0.0, 0.5), Setting(0.5, 1.0))
# Where a few directions make up nearly all that varies, as with the last token of a chat model, half the power leaves
# the score to them. gemma 3 270M, static student, nDCG@10 by intent among 1,500 texts of CLINC150 (the teacher's own
# queries .425): ridge regression finds .421, .447, .494 and .534 with power .5 after 600, 900, 2,000 and 4,000 pairs,
# .441, .468, .518 and .558 with .75, about the same with 1; random features .552 and .573 after 4,000. MiniLM's spread
# amounts to .32 to .46 of its dimensions, gemma's to .15 (3,600 pairs) up to .26 (540).
UNEVEN = 0.28
SETTINGS_IF_UNEVEN = (*SETTINGS[:-1], Setting(0.75, 1.0))


@dataclass(frozen=True)
class Spread:
    """How some vectors lie, float64.

    Attributes:
        count: M, of the vectors.
        mean: `(D,)`.
        covariance: `(D, D)` of trace 1.
    """

    count: int
    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Spread:
        """Of `(M, D)`."""
        vectors = vectors.double()
        return cls(len(vectors), vectors.mean(dim=0), _covariance(vectors))


class Whitenings:
    """The family around one head.

    Args:
        aligned: `(N, D)`, outputs of the head for texts that it was not fitted on.
        own: `(N, D)`, the teacher's vectors of the same texts, of length 1.
        teacher: of the teacher's vectors of other texts, of length 1; one may serve several families.
    """

    def __init__(self, aligned: Tensor, own: Tensor, teacher: Spread) -> None:
        aligned, own = aligned.double(), own.double()
        energy = float(aligned.square().sum())
        self.gain = max(0.0, float((aligned * own).sum()) / energy if energy > 0 else 0.0) or 1.0
        self.mean = teacher.mean
        # relative to traces of 1
        self._floor = FLOOR / len(self.mean) + 1 / max(1, teacher.count)
        mixed = (_covariance(own - self.gain * aligned) + teacher.covariance) / 2
        self._values, self._vectors, self._rest = _leading(mixed)

    def settings(self) -> tuple[Setting, ...]:
        """What is worth trying, from the mildest to the strongest."""
        return SETTINGS_IF_UNEVEN if self.is_uneven else SETTINGS

    @functools.cached_property
    def is_uneven(self) -> bool:
        """Whether few directions make up nearly all that varies."""
        return self.evenness() < UNEVEN

    def evenness(self) -> float:
        """In (0, 1]: the share of the dimensions that the spread amounts to; 1 where it is the same in each of them.

        Source: the participation ratio of the eigenvalues (Bell and Dean, Discussions of the Faraday Society 50, 1970).
        """
        width, others = len(self.mean), len(self.mean) - len(self._values)
        inner, outer = (part + self._floor for part in (self._values, self._rest))
        return float((inner.sum() + others * outer) ** 2 / (inner.square().sum() + others * outer**2)) / width

    def map(self, setting: Setting) -> tuple[Tensor, Tensor]:
        """Weight `(D, D)` and bias `(D,)`, float64, of the affine map behind the head."""
        width = len(self.mean)
        weight = torch.eye(width, dtype=torch.float64, device=self.mean.device)
        if setting.power:
            inner, outer = (part + self._floor for part in (self._values, self._rest))
            # relative to the directions that are not known one by one, and of size 1 on average
            inner, outer = inner.pow(-setting.power), outer.pow(-setting.power)
            size = (inner.sum() + (width - len(inner)) * outer) / width
            weight = (self._vectors * ((inner - outer) / size)) @ self._vectors.T
            weight.diagonal().add_(outer / size)
        return weight, -setting.centre / self.gain * (weight @ self.mean)


def _covariance(vectors: Tensor) -> Tensor:
    """`(N, D)` → `(D, D)` of trace 1; a multiple of the identity where nothing varies."""
    centred = vectors - vectors.mean(dim=0) if len(vectors) else vectors
    matrix = centred.T @ centred
    trace = float(matrix.trace())
    return matrix / trace if trace > 0 else torch.eye(len(matrix)).to(matrix) / len(matrix)


def _leading(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues `(K,)` and eigenvectors `(D, K)` of the leading directions, and the mean eigenvalue of the others.

    Source: subspace iteration with a Rayleigh-Ritz step: Halko, Martinsson and Tropp, SIAM Review 53 (2011).
    """
    width = len(matrix)
    if width <= WIDEST:
        values, vectors = torch.linalg.eigh(matrix)
        return values.clamp_min(0), vectors, values.new_zeros(())
    start = torch.randn(width, LEADING, dtype=matrix.dtype, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(start.to(matrix.device))[0]
    for _ in range(SWEEPS):
        basis = torch.linalg.qr(matrix @ basis)[0]
    values, turned = torch.linalg.eigh(basis.T @ matrix @ basis)
    rest = (matrix.trace() - values.sum()).clamp_min(0) / (width - LEADING)
    return values.clamp_min(0), basis @ turned, rest
