"""Texts longer than a model's context: they are cut without a word, and all that begin alike get one vector."""

from __future__ import annotations

# beside the tokens of a text: those that mark its start and end, a space before it
_SPECIAL_TOKENS = 8


class Context:
    """How long a text a model takes, and which texts were longer.

    A token is at least a byte, so that most texts need no looking at: they are too short to be cut.

    Attributes:
        least: tokens that it takes at least; None while nothing is known, and then no text counts as long.
        cut: texts that were longer, until that is told.
    """

    def __init__(self, least: int | None = None) -> None:
        self.least = least
        self.cut: set[str] = set()

    def may_cut(self, text: str) -> bool:
        """Whether a text may be longer than the context."""
        if self.least is None or 4 * len(text) + _SPECIAL_TOKENS < self.least:
            return False
        return len(text.encode("utf-8", "surrogatepass")) + _SPECIAL_TOKENS >= self.least

    def note_tokens(self, texts: list[str], tokens: object) -> None:
        """What a server said of how many tokens it read: of a text that went alone, it tells whether it was cut."""
        if self.least is not None and len(texts) == 1 and isinstance(tokens, int) and tokens >= self.least:
            self.cut.add(texts[0])
