"""Held-out pairs that a run keeps: later queries are compared with them, and a replaced model is told by them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from alignkit.files import write_whole
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import PairSplits
from alignkit.runs.training_sample import mixed

HELD_OUT_SAMPLE = "held_out_sample.safetensors"
PAIRS = 1_000
# texts that are embedded again: several words, of which different poolings give different vectors, and cheap
CANARIES, LONGEST_CANARY, FEWEST_WORDS = 8, 200, 4


@dataclass(frozen=True)
class Canary:
    """A few texts with the vectors that they had when the head was trained.

    Attributes:
        texts: C.
        student: `(C, student_dim)` float32.
        teacher: `(C, teacher_dim)` float32, rows of length 1.
    """

    texts: tuple[str, ...]
    student: np.ndarray
    teacher: np.ndarray


@dataclass(frozen=True)
class HeldOutSample:
    """A sample of the test split, which the head was not fitted on.

    Attributes:
        student: `(S, student_dim)` float32.
        teacher: `(S, teacher_dim)` float32, rows of length 1.
        canary: some of these pairs with their texts; `None` where the texts are not known.
    """

    student: np.ndarray
    teacher: np.ndarray
    canary: Canary | None = None

    @classmethod
    def of(cls, splits: PairSplits, seed: int = 0) -> HeldOutSample:
        """Draw it from the test split."""
        test = splits.test
        rows = sample_rows(len(test), PAIRS, seed).numpy()
        student, teacher = (np.asarray(part[rows], dtype=np.float32) for part in (test.student, test.teacher))
        teacher = teacher / np.maximum(np.linalg.norm(teacher, axis=1, keepdims=True), 1e-12)
        canary = None
        if test.texts is not None:
            texts = [test.texts[row] for row in rows.tolist()]
            places = _spread([place for place, text in enumerate(texts) if _serves(text)])
            if places:
                canary = Canary(tuple(texts[place] for place in places), student[places], teacher[places])
        return cls(student, teacher, canary)

    def joined(self, new: HeldOutSample, share: float) -> HeldOutSample:
        """A sample of these pairs and new ones, with the canary of the new ones.

        Args:
            new: a sample of the new ones.
            share: of the new ones among all pairs, in (0, 1).
        """
        student, teacher = (
            mixed(getattr(self, side), getattr(new, side), share, PAIRS) for side in ("student", "teacher")
        )
        return HeldOutSample(student, teacher, new.canary or self.canary)

    def without(self, students: np.ndarray) -> HeldOutSample:
        """The sample without these sentences `(N, student_dim)`, float32; its canary too where it has one of them."""
        import torch

        from alignkit.vectors import are_among

        gone, canary = torch.from_numpy(students), self.canary
        if canary is not None and are_among(torch.from_numpy(canary.student), gone).any():
            canary = None
        kept = ~are_among(torch.from_numpy(self.student), gone).numpy()
        return HeldOutSample(self.student[kept], self.teacher[kept], canary)

    def save(self, run: Path) -> None:
        """Keep it in a run folder, vectors as float16; those of the few texts as they are.

        Raises:
            AlignkitError: if it cannot be written.
        """
        scale = np.float32(np.abs(self.student).max(initial=0) or 1.0)  # float16 has a narrow range
        arrays = {
            "student": (self.student / scale).astype(np.float16),
            "scale": np.array([scale]),
            "teacher": self.teacher.astype(np.float16),
        }
        if self.canary is not None:
            arrays |= {"canary_student": self.canary.student, "canary_teacher": self.canary.teacher}
            arrays["canary_texts"] = np.frombuffer(json.dumps(self.canary.texts).encode(), dtype=np.uint8)
        write_whole(run / HELD_OUT_SAMPLE, save({name: np.ascontiguousarray(one) for name, one in arrays.items()}))

    @classmethod
    def load(cls, run: Path | None) -> HeldOutSample | None:
        """The sample that a run kept; `None` for a bare head and for a run that kept none or a damaged one."""
        if run is None or not (run / HELD_OUT_SAMPLE).is_file():
            return None
        try:
            arrays = load_file(run / HELD_OUT_SAMPLE)
            canary = None
            if "canary_texts" in arrays:
                texts = tuple(json.loads(arrays["canary_texts"].tobytes()))
                canary = Canary(texts, arrays["canary_student"], arrays["canary_teacher"])
            student = arrays["student"].astype(np.float32) * arrays["scale"]
            return cls(student, arrays["teacher"].astype(np.float32), canary)
        except (SafetensorError, KeyError, OSError, ValueError):
            return None


def _serves(text: str) -> bool:
    """Whether a text tells models apart: scripts without spaces have long words."""
    return len(text) <= LONGEST_CANARY and (len(text.split()) >= FEWEST_WORDS or len(text) >= 4 * FEWEST_WORDS)


def _spread(places: list[int]) -> list[int]:
    some = np.unique(np.linspace(0, len(places) - 1, min(CANARIES, len(places))).astype(np.int64))
    return [places[one] for one in some.tolist()] if places else []
