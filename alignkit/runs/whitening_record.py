"""How a run whitens queries, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WhiteningRecord:
    """What was chosen, what it was compared with, and on how much.

    Attributes:
        power: see `alignkit.heads.whitening.Setting`; 0 with `centre` 0 leaves queries as they are.
        centre: likewise.
        chosen_by: the criterion that was asked for.
        queries: held-out texts that were searched with.
        corpus: teacher vectors that they searched among.
        tried: of every setting its `power`, `centre` and figures; `self_log_probability` is among these where
            reciprocal ranks were too alike.
        reason: one sentence.
    """

    power: float
    centre: float
    chosen_by: str
    queries: int
    corpus: int
    tried: tuple[Mapping[str, float], ...]
    reason: str
