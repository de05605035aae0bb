"""What a fill did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FillReport:
    """What a fill did.

    Attributes:
        new: distinct texts that were embedded and stored.
        cached: distinct texts that had a vector before.
        quarantined: text -> why the model gave no vector, now or when it was asked before.
        cut: distinct texts among the new that are longer than the model's context.
        context: most tokens that it reads of a text, where some were cut and it is known.
        tried: distinct texts that the embedder was asked for.
        seconds: wall clock, all in all.
        first_batch_s: until the first batch was there (a server loads the model in this time); None without one.
    """

    new: int = 0
    cached: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    context: int | None = None
    tried: int = 0
    seconds: float = 0.0
    first_batch_s: float | None = None
