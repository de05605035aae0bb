"""Held-out sentences, by which closed forms choose their settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.heads.base import Batches, count_pairs, sample_pairs
from alignkit.vectors import cosine, l2_normalize

# so many sentences are asked for their neighbours, among so many
QUERIES, CORPUS = 1024, 4096
NEIGHBOURS = 10


@dataclass(frozen=True)
class HeldOut:
    """Sentences that a head has not seen, and which sentences it should find for each of them.

    Attributes:
        student: `(Q, student_dim)`.
        teacher: `(Q, teacher_dim)`, normalised.
        corpus: `(C, teacher_dim)` normalised, what can be found.
        itself: `(Q,)` rows of the corpus that are the queries.
        wanted: `(Q, K)` rows of the corpus: the nearest by the teacher's own vectors, without the query itself.
    """

    student: Tensor
    teacher: Tensor
    corpus: Tensor
    itself: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, validation: Batches, train: Batches) -> HeldOut:
        """A bounded sample of the validation pairs.

        Args:
            validation: what the head is not solved on.
            train: what it is solved on; only its teacher vectors are looked at, and only where `validation` is small:
                a few sentences lie far apart, and any head finds the nearest among them.
        """
        student, teacher = sample_pairs(validation, count_pairs(validation), CORPUS)
        corpus = l2_normalize(teacher)
        itself = torch.arange(0, len(corpus), -(-len(corpus) // QUERIES), device=corpus.device)
        student, teacher = student[itself], corpus[itself]
        if len(corpus) < QUERIES:
            others = sample_pairs(train, count_pairs(train), CORPUS - len(corpus))[1]
            corpus = torch.cat([corpus, l2_normalize(others)])
        return cls(student, teacher, corpus, itself, _nearest(teacher, corpus, itself))

    def quality(self, aligned: Tensor) -> Tensor:
        """Cosine plus the share of near neighbours found, `(Q,)` in [-1, 2].

        The cosine alone would shrink too much: vectors pulled towards the mean lie nearer to the teacher's and are
        harder to tell apart.

        Args:
            aligned: `(Q, teacher_dim)`.
        """
        aligned = aligned.to(self.corpus)
        agreement = cosine(aligned, self.teacher)
        if not self.wanted.numel():
            return agreement
        found = _nearest(aligned, self.corpus, self.itself)
        hits = (found.unsqueeze(2) == self.wanted.unsqueeze(1)).flatten(1).sum(dim=1)
        return agreement + hits / self.wanted.shape[1]


def _nearest(queries: Tensor, corpus: Tensor, itself: Tensor) -> Tensor:
    scores = queries @ corpus.T
    scores[torch.arange(len(itself), device=scores.device), itself] = -torch.inf
    return scores.topk(min(NEIGHBOURS, len(corpus) - 1)).indices
