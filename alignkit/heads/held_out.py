"""Held-out sentences, and the one criterion by which closed forms choose their settings on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.heads.climb import climb
from alignkit.heads.streaming import Batches, EvenSample, sample_pairs, weights_of
from alignkit.vectors import cosine, l2_normalize

# held-out sentences that search, and sentences that they search among
QUERIES, CORPUS = 1024, 4096
NEIGHBOURS = 10


@dataclass(frozen=True)
class HeldOut:
    """Sentences that a head has not seen, and the neighbours that it should find for each of them.

    Attributes:
        student: `(Q, student_dim)`.
        teacher: `(Q, teacher_dim)`, normalised.
        corpus: `(C, teacher_dim)`, normalised; the sentences that can be found.
        itself: `(Q,)` corpus row of each query.
        wanted: `(Q, K)` corpus rows nearest to each query by the teacher's own vectors, without the query itself.
    """

    student: Tensor
    teacher: Tensor
    corpus: Tensor
    itself: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, validation: Batches, others: Tensor) -> HeldOut:
        """A bounded sample of the validation pairs; takes one pass over them.

        Args:
            validation: what the head is not solved on, at least one pair.
            others: `(N, teacher_dim)`, teacher vectors of training sentences. They join the corpus where `validation`
                is small: a few sentences lie far apart, and any head finds the nearest among them.
        """
        student, teacher = sample_pairs(validation, CORPUS)
        corpus = l2_normalize(teacher)
        itself = torch.arange(0, len(corpus), -(-len(corpus) // QUERIES), device=corpus.device)
        student, teacher = student[itself], corpus[itself]
        if len(corpus) < QUERIES:
            others = others[:: max(1, -(-len(others) // (CORPUS - len(corpus))))]
            corpus = torch.cat([corpus, l2_normalize(others.to(corpus))])
        return cls(student, teacher, corpus, itself, _nearest(teacher, corpus, itself))

    def quality(self, aligned: Tensor) -> Tensor:
        """Cosine plus the share of near neighbours found, `(Q,)` in [-1, 2]: every closed form chooses by its mean.

        The cosine alone shrinks too much: vectors pulled towards the mean are nearer to the teacher's and harder to
        tell apart. Whether each sentence finds its own vector was tried instead: it saturates, and with few pairs it
        chooses a λ that is too weak for other texts.

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


def corpus_sample(train: Batches, validation: Batches) -> EvenSample:
    """Keeps the `others` of `HeldOut.of` while something else reads the training pairs."""
    return EvenSample(len(train), CORPUS - len(validation) if len(validation) < QUERIES else 1, weights_of(train))


@dataclass(frozen=True)
class Choice:
    """A strength of regularisation, and what the best one came to on held-out sentences.

    Attributes:
        strength: the weakest that noise cannot tell from the best.
        qualities: `(Q,)` of the best one, by `HeldOut.quality`.
    """

    strength: float
    qualities: Tensor

    @property
    def quality(self) -> float:
        """Mean over the sentences."""
        return float(self.qualities.mean())


def choose_strength(grid: Sequence[float], start: float, attempt: Callable[[float], Tensor]) -> Choice:
    """Choose the strength that does best on held-out sentences by a few tries from `start`.

    Of strengths that differ by no more than noise, the weakest is chosen. Held-out sentences lie further apart than
    those of an index and are told apart too easily, which favours strong regularisation.

    Args:
        grid: strengths, the weakest first.
        start: one of them.
        attempt: a strength → `(Q,)`, the `HeldOut.quality` of its solution; called at most once a strength.
    """
    qualities: dict[float, Tensor] = {}

    def tried(strength: float) -> float:
        if strength not in qualities:
            qualities[strength] = attempt(strength)
        return strength

    best = climb(grid, start, tried, lambda strength: float(qualities[strength].mean()))
    kept = best
    for weaker in reversed(grid[: grid.index(best)]):
        if not _is_matched(qualities[best], qualities[tried(weaker)]):
            break
        kept = weaker
    return Choice(kept, qualities[best])


def _is_matched(best: Tensor, others: Tensor) -> bool:
    """Whether the others are no worse than the best beyond the standard error of the paired difference."""
    lost = best - others
    return float(lost.mean()) <= float(lost.std(correction=0)) / len(lost) ** 0.5


def _nearest(queries: Tensor, corpus: Tensor, itself: Tensor) -> Tensor:
    scores = queries @ corpus.T
    scores[torch.arange(len(itself), device=scores.device), itself] = -torch.inf
    return scores.topk(min(NEIGHBOURS, len(corpus) - 1)).indices
