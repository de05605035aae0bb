"""The entries of a table: what the teacher was asked for within a budget, and what the sources say of each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.embedders.base import Embedder, Role
from alignkit.tables.blocks import TEACHER, ask_teacher, block_of
from alignkit.tables.inside import with_inside
from alignkit.tables.piece_ids import by_ids
from alignkit.tables.vocabulary import Candidates, find_candidates


@dataclass(frozen=True)
class Entries:
    """Candidates for a table, and the teacher's vectors of those that are within the budget.

    Attributes:
        candidates: all of them, the most useful first.
        sources: of the columns.
        teacher: whose input embeddings may be a source.
        whole: word or piece that begins one → the teacher's vector.
        inside: likewise for pieces inside words.
        asked: how many are within the budget.
        calls: of these, those that the cache did not have.
        wanted: how many there are without a budget.
        seconds: that the teacher took.
    """

    candidates: Candidates
    sources: Sequence[str]
    teacher: Embedder
    whole: Mapping[str, np.ndarray]
    inside: Mapping[str, np.ndarray]
    asked: int = 0
    calls: int = 0
    wanted: int = 0
    seconds: float = 0.0

    @classmethod
    def of(
        cls, texts: Sequence[str], teacher: Embedder, cache_dir: str | Path, sources: Sequence[str], budget: int,
        role: Role,
    ) -> Entries:  # fmt: skip
        """Find the candidates and ask the teacher, if it is among the sources, through the cache.

        Raises:
            AlignkitError: if the teacher or the cache fails.
        """
        candidates = find_candidates(texts, teacher)
        if TEACHER not in sources:
            return cls(candidates, sources, teacher, {}, {})
        started = time.perf_counter()
        words, pieces, inside = candidates.whole[:budget], list[str](), dict[str, np.ndarray]()
        wanted = len(candidates.whole)
        whole, calls = ask_teacher(words, teacher, cache_dir, role)
        by_id = by_ids(teacher, role) if candidates.own else None
        if by_id is not None:
            wanted += len(candidates.inside)
            pieces = candidates.inside[: budget - len(words)]
            if pieces:
                inside, more = ask_teacher(pieces, by_id, cache_dir, role)
                calls += more
        asked, seconds = len(words) + len(pieces), time.perf_counter() - started
        return cls(candidates, sources, teacher, whole, inside, asked, calls, wanted, seconds)

    def blocks(self, most: int | None = None) -> tuple[list[str], list[np.ndarray]]:
        """The names of V entries, and `(V, D)` of each source, centred; zero where it knows nothing of an entry.

        Args:
            most: as if the teacher had been asked for so many entries.
        """
        words = self.candidates.whole[:most]
        left = self.candidates.inside[: None if most is None else most - len(words)]
        inside = {piece: self.inside[piece] for piece in left if piece in self.inside}
        if TEACHER in self.sources:
            words = [word for word in words if word in self.whole]
        names, spread = with_inside(words, self.candidates.inside, inside)
        found = []
        for source in self.sources:
            is_teacher = source == TEACHER
            block = (
                np.stack([self.whole[word] for word in words]) if is_teacher else block_of(source, words, self.teacher)
            )
            mean = _mean(block)
            block = np.asarray(spread @ ((block - mean) * block.any(axis=1, keepdims=True)))
            for number, name in enumerate(names if is_teacher else ()):
                if name in inside:
                    block[number] = inside[name] - mean
            found.append(block)
        return names, found


def _mean(block: np.ndarray) -> np.ndarray:
    """Mean of the rows of which a source knows anything."""
    there = block[block.any(axis=1)]
    return there.mean(axis=0) if len(there) else np.zeros(block.shape[1], dtype=np.float32)
