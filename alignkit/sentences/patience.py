"""How long a build keeps asking a chat model: until its time is up or the model proves unable."""

from __future__ import annotations

import logging
import math
import threading
import time

logger = logging.getLogger(__name__)

# after so many first answers without a usable sentence there will be none
MOST_USELESS = 8


class Patience:
    """Thread-safe. The clock starts with the first question.

    Args:
        budget_s: seconds for all answers together.
    """

    def __init__(self, budget_s: float = math.inf) -> None:
        self._budget_s = budget_s
        self._begun: float | None = None
        self._useless = 0
        self._useful = False
        self._said = False
        self._lock = threading.Lock()

    def left_s(self) -> float:
        """Seconds until the time is up, at least 0."""
        with self._lock:
            if self._begun is None:
                self._begun = time.monotonic()
            return max(0.0, self._begun + self._budget_s - time.monotonic())

    def note(self, useful: bool) -> None:
        """Record an answer."""
        with self._lock:
            self._useful = self._useful or useful
            self._useless += not useful

    def end(self) -> str:
        """Why asking on is pointless; "" while it is not."""
        if self.left_s() == 0:
            return self._say(
                "the time was up",
                f"the {self._budget_s:,g} s for answers are up, the grammar writes the rest; more: generator.budget_s=",
            )
        with self._lock:
            hopeless = not self._useful and self._useless >= MOST_USELESS
        if hopeless:
            return self._say(
                "the model's answers were unusable",
                f"none of {MOST_USELESS} answers held a usable sentence; the grammar writes the rest; a larger model?",
            )
        return ""

    def _say(self, reason: str, words: str) -> str:
        with self._lock:
            said, self._said = self._said, True
        if not said:
            logger.warning(words)
        return reason
