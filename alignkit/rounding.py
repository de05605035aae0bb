"""Vectors in a coarse number format, and how wrong their products can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

_UNIT_ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
# a sum of roundings that are as likely up as down exceeds so many times its spread once in 10^13
SIGMAS = 8.0
# int8 levels on each side of 0; one is left for what the dither adds
_LEVELS = 126
# of the dithers: the two sides of a product are rounded independently
_QUERIES_SEED, _CORPUS_SEED = 0, 1


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself and this torch can say so; elsewhere it is slower than float32."""
    return _cpu_has("avx512_bf16", "amx_bf16", "bf16")


def cpu_rounds_products() -> bool:
    """Whether `products_in_bfloat16` does anything here.

    oneDNN rounds float32 factors for matrix units alone, AMX or Arm's; a chip that has bfloat16 in AVX-512 multiplies
    tensors that are in it, and these as they are.
    """
    return _cpu_has("amx_bf16", "bf16")


def cpu_multiplies_int8() -> bool:
    """Likewise int8, with sums in int32 that nothing saturates on the way."""
    return _cpu_has("avx512_vnni", "avx_vnni", "amx_int8")


def _cpu_has(*units: str) -> bool:
    try:
        capabilities = torch.cpu.get_capabilities()
    except (AttributeError, RuntimeError):  # an older torch, or a build that cannot look at the chip
        return False
    return torch.backends.mkldnn.is_available() and any(capabilities.get(name, False) for name in units)


@contextmanager
def products_in_bfloat16(wanted: bool = True) -> Iterator[None]:
    """Within it, this CPU multiplies float32 matrices in bfloat16 and sums in float32; nothing else is rounded.

    Where `cpu_rounds_products` says no, it changes nothing.

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
    """Queries or corpus rows less what they share, in the format of the rough pass, with what was lost.

    Of all corpus rows a mean m is taken off, and of each query what it has along m: with q.m = a m.m,
    q.c = (q - a m).(c - m) + a c.m. Generative models' vectors share a large mean, which would eat most of the bits.

    Attributes:
        mean_length: of m.
        vectors: `(N, D)` in float32, bfloat16 or float16; or in int8: numbers of steps.
        step: `(N,)` size of an int8 step; 1 in the other formats.
        along: `(N,)` float32: c.m of a corpus row, a of a query.
        length: `(N,)` before rounding.
        lost: `(N,)`: its product with a vector of length 1 is changed by rounding no more than this.
        reach: `(N,)`: the rounded vector is no longer.
    """

    mean_length: float
    vectors: Tensor
    step: Tensor
    along: Tensor
    length: Tensor
    lost: Tensor
    reach: Tensor

    @classmethod
    def of_corpus(cls, unit: Tensor, mean: Tensor, dtype: torch.dtype) -> RoughVectors:
        """Of normalised corpus rows `(N, D)`; any mean `(D,)` is right, that of a part of them is near enough."""
        centered, square = unit - mean, float(mean.double().square().sum())
        # c.m = (c - m).m + m.m: the first term is small, so that float32 will do, the second is one number
        along = (centered @ mean).add_(square)
        return cls(square**0.5, *_rounded(centered, dtype, _CORPUS_SEED, along))

    @classmethod
    def of_queries(cls, unit: Tensor, mean: Tensor, dtype: torch.dtype) -> RoughVectors:
        """Of normalised queries `(N, D)` and the corpus's mean `(D,)`."""
        square = float(mean.double().square().sum())
        along = (unit @ mean).div_(max(square, torch.finfo(torch.float32).tiny))
        return cls(square**0.5, *_rounded(unit - along.unsqueeze(1) * mean, dtype, _QUERIES_SEED, along))

    @classmethod
    def joined(cls, parts: Sequence[RoughVectors]) -> RoughVectors:
        """All rows of parts with the same mean; a part alone is not copied."""
        if len(parts) == 1:
            return parts[0]
        rows = [torch.cat([getattr(part, name) for part in parts]) for name in _OF_ROWS]
        return cls(parts[0].mean_length, *rows)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice) -> RoughVectors:
        return RoughVectors(self.mean_length, *(getattr(self, name)[rows] for name in _OF_ROWS))

    def scores(self, corpus: RoughVectors) -> Tensor:
        """Rough cosines `(Q, B)` float32 of queries with corpus rows."""
        if self.vectors.dtype == torch.int8:
            steps = torch._int_mm(self.vectors, corpus.vectors.T)
            product = steps.float().mul_(self.step.unsqueeze(1)).mul_(corpus.step)
        elif self._sums_unrounded:
            product = torch.mm(self.vectors, corpus.vectors.T, out_dtype=torch.float32)
        else:
            product = (self.vectors @ corpus.vectors.T).float()
        return product.addcmul_(self.along.unsqueeze(1), corpus.along)

    @property
    def _sums_unrounded(self) -> bool:
        """A GPU gives the float32 sums of a coarse product as they are; a CPU rounds them to the format."""
        return self.vectors.dtype == torch.int8 or (self.vectors.is_cuda and self.vectors.dtype != torch.float32)

    def slack(self, corpus: RoughVectors) -> Tensor:
        """`(Q,)`: no rough cosine of the queries is further than this from the exact one.

        In this order: what rounding took off the vectors, |(q - q~).c| + |q~.(c - c~)|, of which dithers make both
        independent; one rounding of the product to the format, where there is one; the float32 sums of D terms, of the
        product and of both sides with the mean, see `sum_slack`; 2^-21 for what is rounded to float32 once (the mean
        taken off, the terms with it, the exact score). The factor pays for the lengths being rounded themselves.
        """
        length, lost, reach = (float(own.max()) for own in (corpus.length, corpus.lost, corpus.reach))
        of_query, of_row = self.lost * length, self.reach * lost
        vectors = torch.hypot(of_query, of_row) if self.vectors.dtype == torch.int8 else of_query + of_row
        stored = 0.0 if self._sums_unrounded else _UNIT_ROUNDOFF[self.vectors.dtype] * self.reach * reach
        sums = self.reach * reach + (self.along.abs() * length + 1) * self.mean_length
        return (vectors + stored + sum_slack(self.vectors.shape[1]) * sums + 2.0**-21) * 1.001


_OF_ROWS = ("vectors", "step", "along", "length", "lost", "reach")


def _rounded(centered: Tensor, dtype: torch.dtype, seed: int, along: Tensor) -> list[Tensor]:
    """See `_OF_ROWS`, of `(N, D)` float32, which is overwritten.

    To int8 with a dither: what is added before rounding down is drawn once for each dimension, so that a number goes up
    or down by chance, and on average nowhere.
    """
    length = torch.linalg.vector_norm(centered, dim=1)
    step, lost = torch.ones_like(length), torch.zeros_like(length)
    if dtype == torch.int8:
        step = (centered.abs().amax(dim=1) / _LEVELS).clamp_min_(torch.finfo(torch.float32).tiny)
        dither = torch.rand(centered.shape[1], generator=torch.Generator().manual_seed(seed)).to(centered.device)
        vectors = centered.div_(step.unsqueeze(1)).add_(dither).floor_().to(torch.int8)
        # Hoeffding: what each dimension loses lies in a range of one step, and is 0 on average
        return [vectors, step, along, length, SIGMAS / 2 * step, length + step * centered.shape[1] ** 0.5]
    vectors = centered.to(dtype)
    if dtype != torch.float32:
        lost = torch.linalg.vector_norm(centered.sub_(vectors), dim=1)
    return [vectors, step, along, length, lost, length + lost]


def sum_slack(terms: int) -> float:
    """How wrong a float32 sum of so many products, of two vectors of length 1, may be.

    8 sqrt(D) roundings, which one sum in 10^13 exceeds (Higham and Mary, A New Approach to Probabilistic Rounding Error
    Analysis, 2019, theorem 2.4).
    """
    return SIGMAS * terms**0.5 * _UNIT_ROUNDOFF[torch.float32]
