"""Choose the best setting of an ordered grid without trying every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Outcome = TypeVar("Outcome")


def climb(
    grid: Sequence[float], start: float, attempt: Callable[[float], Outcome], score: Callable[[Outcome], float]
) -> Outcome:
    """Walk from `start` to the better neighbour until no neighbour is better; finds the best of a grid with one peak.

    Args:
        grid: settings in order.
        start: one of them.
        attempt: tries a setting; called at most once a setting.
        score: of an outcome, higher is better.

    >>> climb([1, 2, 3, 4, 5], 1, lambda value: value, lambda value: -((value - 4) ** 2))
    4
    """
    place = grid.index(start)
    best = attempt(start)
    for step in (1, -1):
        moved = False
        while 0 <= place + step < len(grid):
            outcome = attempt(grid[place + step])
            if not score(outcome) > score(best):
                break
            best, place, moved = outcome, place + step, True
        if moved:  # with one peak, the other side is lower
            break
    return best
