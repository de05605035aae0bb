"""A sample of the training pairs, which tells whether other texts are like them, as the student sees it.

Reading one and comparing with it needs no torch: a server does so.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from alignkit.embedders.rows import squared_lengths
from alignkit.files import write_whole

if TYPE_CHECKING:
    from alignkit.pairs.base import Pairs, PairSplits

TRAINING_SAMPLE = "training_sample.safetensors"
SENTENCES, QUERIES = 2_000, 1_000
# half of the queries are farther from training than all but this share of the sentences held out from it
FARTHEST = 0.05
# a single text counts as far from training where all but this share of those sentences are nearer
FAR = 0.01


@dataclass(frozen=True)
class Unlike:
    """Texts that are farther from the training sentences than sentences held out from these, in the student's space.

    Attributes:
        nearest: median cosine of a text with its nearest training sentence.
        held_out: the same of the sentences that were held out.
    """

    nearest: float
    held_out: float


@dataclass(frozen=True)
class TrainingSample:
    """A sample of training sentences, and how near to them held-out sentences of the same kind come.

    Attributes:
        student: `(S, student_dim)` float32, a sample of the training split.
        held_out: `(V,)` cosine of each sampled validation sentence with its nearest in `student`, both centred on the
            sample's mean.
    """

    student: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, splits: PairSplits, seed: int = 0) -> TrainingSample:
        """Draw both samples from the splits that a head is trained on."""
        student = _sample(splits.train, SENTENCES, seed)
        validation = _sample(splits.validation, QUERIES, seed)
        return cls(student, cls(student, np.empty(0, np.float32)).nearest(validation))

    def joined(self, new: TrainingSample, share: float) -> TrainingSample:
        """A sample of these pairs and new ones.

        Args:
            new: a sample of the new ones.
            share: of the new ones among all pairs, in (0, 1).
        """
        return TrainingSample(
            mixed(self.student, new.student, share, SENTENCES), mixed(self.held_out, new.held_out, share, QUERIES)
        )

    def without(self, students: np.ndarray) -> TrainingSample:
        """The sample without these sentences `(N, student_dim)`, float32, or any that are the same but for rounding."""
        import torch

        from alignkit.vectors import are_among

        gone = are_among(torch.from_numpy(self.student), torch.from_numpy(students)).numpy()
        return TrainingSample(self.student[~gone], self.held_out)

    def save(self, run: Path) -> None:
        """Keep it in a run folder, vectors as float16.

        Raises:
            AlignkitError: if it cannot be written.
        """
        scale = np.float32(np.abs(self.student).max() or 1.0)  # float16 has a narrow range
        arrays = {
            "student": (self.student / scale).astype(np.float16),
            "scale": np.array([scale]),
            "held_out": self.held_out.astype(np.float32),
        }
        write_whole(run / TRAINING_SAMPLE, save(arrays))

    @classmethod
    def load(cls, run: Path | None) -> TrainingSample | None:
        """The sample that a run kept; `None` for a bare head and for a run that kept none or a damaged one."""
        if run is None or not (run / TRAINING_SAMPLE).is_file():
            return None
        try:
            arrays = load_file(run / TRAINING_SAMPLE)
            return cls(arrays["student"].astype(np.float32) * arrays["scale"], arrays["held_out"])
        except (SafetensorError, KeyError, OSError):
            return None

    def unlike(self, queries: np.ndarray, seed: int = 0) -> Unlike | None:
        """How far the queries `(Q, student_dim)` are from training; `None` where they are like it.

        Texts count as unlike where the median query is farther from its nearest training sentence than 95% of the
        sentences that were held out from the same source.
        """
        if not len(self.held_out) or queries.shape[1] != self.student.shape[1]:
            return None
        nearest = float(np.median(self.nearest(queries[_drawn(len(queries), QUERIES, seed)])))
        if nearest >= np.quantile(self.held_out, FARTHEST):
            return None
        return Unlike(nearest, float(np.median(self.held_out)))

    def far(self, texts: np.ndarray) -> np.ndarray | None:
        """Which of the vectors `(N, student_dim)` are farther from training than 99% of what was held out from it.

        Returns:
            `(N,)` bool; `None` where nothing was held out, or the width is another.
        """
        if not len(self.held_out) or texts.shape[1] != self.student.shape[1]:
            return None
        return self.nearest(texts) < self._far_below

    def nearest(self, texts: np.ndarray) -> np.ndarray:
        """Cosine of each of `(N, student_dim)` with its nearest in the sample, both centred on its mean: `(N,)`."""
        mean, unit = self._centred
        found = _unit(np.asarray(texts, dtype=np.float32) - mean) @ unit.T
        return np.asarray(found.max(axis=1))

    @functools.cached_property
    def _centred(self) -> tuple[np.ndarray, np.ndarray]:
        """The sample's mean, and its rows without it, of length 1."""
        mean = self.student.mean(axis=0)
        return mean, _unit(self.student - mean)

    @functools.cached_property
    def _far_below(self) -> float:
        return float(np.quantile(self.held_out, FAR))


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.sqrt(squared_lengths(rows))[:, None], 1e-12), dtype=np.float32)


def _drawn(count: int, most: int, seed: int) -> np.ndarray:
    from alignkit.metrics.alignment import sample_rows

    return sample_rows(count, most, seed).numpy()


def _sample(pairs: Pairs, most: int, seed: int) -> np.ndarray:
    return np.asarray(pairs.student[_drawn(len(pairs), most, seed)], dtype=np.float32)


def mixed(own: np.ndarray, new: np.ndarray, share: float, most: int) -> np.ndarray:
    """At most so many rows of both, as many of the new ones as is their share; of equal lengths always the same."""
    total = min(most, len(own) + len(new))
    taken = min(len(new), max(round(share * total), total - len(own)))
    parts = ((own, total - taken), (new, taken))
    return np.concatenate([part[_drawn(len(part), count, 0)] for part, count in parts])
