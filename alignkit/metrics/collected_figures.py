"""The alignment figures of a split, from what is collected over its batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from alignkit.metrics.alignment import Row, centered_cosine, cosine_summary, overlap_at_k, pairwise_spearman
from alignkit.metrics.self_retrieval import self_retrieval
from alignkit.shapes import check_shapes
from alignkit.vectors import l2_normalize, unit_cosine

# texts that look for themselves: more would cost more than a validation should
SELF_QUERIES = 1_000


class Collected(NamedTuple):
    """What is kept of some pairs.

    Attributes:
        rows: `(B,)` int64, of the pairs in their split.
        cosines: `(B,)` to the teacher's vectors.
        centered: `(B,)`, the same of centred vectors.
        sample_rows_seen: `(S,)` int64, the rows whose vectors are kept.
        sample_aligned: `(S, D)`, of length 1.
        sample_teacher: `(S, D)`, of length 1.
    """

    rows: Tensor
    cosines: Tensor
    centered: Tensor
    sample_rows_seen: Tensor
    sample_aligned: Tensor
    sample_teacher: Tensor

    @classmethod
    def of_batch(
        cls, rows: Tensor, aligned: Tensor, teacher: Tensor, teacher_mean: Tensor, sampled: Tensor
    ) -> Collected:
        """What is kept of one batch.

        Args:
            rows: `(B,)` int64, the row of each pair in the split.
            aligned: `(B, D)`, the head's output, not normalised.
            teacher: `(B, D)`, rows of length 1.
            teacher_mean: `(D,)`, mean of the training split's normalised teacher vectors.
            sampled: `(N,)` bool, the rows of the split whose vectors are kept.
        """
        check_shapes(
            rows=(rows, "B"), aligned=(aligned, "B D"), teacher=(teacher, "B D"), teacher_mean=(teacher_mean, "D")
        )
        aligned, teacher = l2_normalize(aligned.detach().float()), teacher.detach().float()
        mine = sampled[rows]
        return cls(
            rows=rows,
            cosines=unit_cosine(aligned, teacher),
            centered=centered_cosine(aligned, teacher, teacher_mean),
            sample_rows_seen=rows[mine],
            sample_aligned=aligned[mine],
            sample_teacher=teacher[mine],
        )

    @classmethod
    def joined(cls, batches: Iterable[Collected]) -> Collected:
        """What is kept of several batches; at least one."""
        return cls(*(torch.cat(parts) for parts in zip(*batches, strict=True)))

    def figures(self, others: Tensor, seed: int) -> Row:
        """The figures of the whole split by name, those of `figure_names`; a row that is there twice counts once.

        Args:
            others: `(M, D)`, the teacher's vectors of other texts, among which a text has to find itself too.
            seed: of the sample of pairs that rank correlation looks at.
        """
        first = _first_of_each(self.rows)
        order = _first_of_each(self.sample_rows_seen)
        aligned, teacher = self.sample_aligned[order], self.sample_teacher[order]
        overlap = overlap_at_k(aligned, teacher)
        asked = torch.arange(min(SELF_QUERIES, len(aligned)), device=aligned.device)
        corpus = torch.cat([teacher, others.to(teacher)])
        return {
            **cosine_summary(self.cosines[first]),
            "cosine_centered_mean": cosine_summary(self.centered[first])["cosine_mean"],
            "spearman": pairwise_spearman(aligned, teacher, seed=seed),
            "overlap@10": float(overlap.mean()) if len(overlap) else None,
            **self_retrieval(aligned[asked], corpus, asked).figures(),
        }


def _first_of_each(rows: Tensor) -> Tensor:
    ordered, order = torch.sort(rows, stable=True)
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return order[fresh]
