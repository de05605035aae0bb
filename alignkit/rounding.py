"""Vectors in a coarse number format, and how wrong their products can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

_UNIT_ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself and this torch can say so; elsewhere it is slower than float32."""
    try:
        capabilities = torch.cpu.get_capabilities()
    except (AttributeError, RuntimeError):  # an older torch, or a build that cannot look at the chip
        return False
    return torch.backends.mkldnn.is_available() and any(
        capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16")
    )


@contextmanager
def products_in_bfloat16(wanted: bool = True) -> Iterator[None]:
    """Within it, this CPU multiplies float32 matrices in bfloat16 and sums in float32; nothing else is rounded.

    Args:
        wanted: without it nothing changes.
    """
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    if wanted:
        products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


@dataclass(frozen=True)
class RoughVectors:
    """Centred vectors in the format of the rough pass, with what was lost.

    With the shift m, q.c = (q - m).(c - m) + c.m + (q.m - m.m). The rough score is the first two terms; the third
    belongs to the query and orders nothing, it is needed only to compare with exact scores.

    Attributes:
        vectors: `(N, D)`, bfloat16, float16 or float32: v - m.
        along_shift: `(N,)` float32: v.m.
        length: `(N,)` of v - m.
        lost: `(N,)` length of what rounding took off each v - m.
        shift_square: m.m.
    """

    vectors: Tensor
    along_shift: Tensor
    length: Tensor
    lost: Tensor
    shift_square: float

    @classmethod
    def of(cls, unit: Tensor, shift: Tensor, dtype: torch.dtype) -> RoughVectors:
        """Centre and round `(N, D)` normalised vectors."""
        centered = unit - shift
        # v.m = (v - m).m + m.m: the first term is small, so that float32 will do, the second is one number
        shift_square = float(shift.double().square().sum())
        along_shift = (centered @ shift).add_(shift_square)
        length = torch.linalg.vector_norm(centered, dim=1)
        vectors, lost = centered.to(dtype), torch.zeros_like(length)
        if dtype != torch.float32:
            lost = torch.linalg.vector_norm(centered.sub_(vectors), dim=1)
        return cls(vectors, along_shift, length, lost, shift_square)

    def __getitem__(self, rows: slice) -> RoughVectors:
        return RoughVectors(
            self.vectors[rows], self.along_shift[rows], self.length[rows], self.lost[rows], self.shift_square
        )

    def scores(self, corpus: RoughVectors) -> Tensor:
        """Rough scores `(Q, B)` float32."""
        if self._sums_unrounded:
            product = torch.mm(self.vectors, corpus.vectors.T, out_dtype=torch.float32)
        else:
            product = (self.vectors @ corpus.vectors.T).float()
        return product.add_(corpus.along_shift)

    @property
    def _sums_unrounded(self) -> bool:
        """A GPU gives the float32 sums of a coarse product as they are; a CPU rounds them to the format."""
        return self.vectors.is_cuda and self.vectors.dtype != torch.float32

    def offset(self) -> Tensor:
        """`(Q,)`: what a rough score lacks to be a cosine."""
        return self.along_shift - self.shift_square

    def slack(self, corpus: RoughVectors) -> Tensor:
        """`(Q,)`: no rough score plus offset is further than this from the exact cosine.

        In this order: what rounding took off the vectors, |(q - q~).c| + |q~.(c - c~)|; one rounding of the product to
        the format, where there is one; the float32 sums of D terms, of the product and of both sides with the shift,
        8 sqrt(D) roundings each, which one sum in 10^13 exceeds (Higham and Mary, A New Approach to Probabilistic
        Rounding Error Analysis, 2019, theorem 2.4); 2^-21 for what is rounded to float32 once (the shift taken off, the
        terms with it, the exact score). The factor pays for the lengths being rounded themselves.
        """
        length, lost = float(corpus.length.max()), float(corpus.lost.max())
        reach = self.length + self.lost
        vectors = self.lost * length + reach * lost
        stored = 0.0 if self._sums_unrounded else _UNIT_ROUNDOFF[self.vectors.dtype] * reach * (length + lost)
        sums = reach * (length + lost) + (self.length + length) * self.shift_square**0.5
        summed = 8 * self.vectors.shape[1] ** 0.5 * _UNIT_ROUNDOFF[torch.float32] * sums
        return (vectors + stored + summed + 2.0**-21) * 1.001
