"""Texts longer than a model's context: they are truncated silently, and those that begin alike get one vector."""

from __future__ import annotations

# added to a text's own tokens: start and end markers, a leading space
_SPECIAL_TOKENS = 8


class Context:
    """How many tokens of a text a model reads, and which texts were longer.

    A token is at least one byte, so most texts need no check: they are too short to be truncated.

    Attributes:
        least: tokens that the model reads at least; while it is None (unknown), no text counts as long.
        cut: texts that were longer, until they are reported.
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
        """Note how many tokens a server read: for a text sent alone, this shows whether it was truncated."""
        if self.least is not None and len(texts) == 1 and isinstance(tokens, int) and tokens >= self.least:
            self.cut.add(texts[0])
