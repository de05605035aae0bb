"""Which texts can be embedded at all; the others become failures before any model sees them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

BLANK = "the text is empty or blank"


def fault_of(text: object) -> str | None:
    r"""Why a text cannot be embedded, in words; None for one that can.

    A model returns *some* vector for a blank text, and servers silently replace a lone surrogate: both would give
    wrong vectors rather than none.

    >>> fault_of("reset my password") is None
    True
    >>> fault_of(" \u200b")
    'the text is empty or blank'
    >>> fault_of("broken \ud83d emoji")
    'the text holds half a surrogate pair (U+D83D at character 7), which is not valid Unicode'
    """
    if not isinstance(text, str):
        return f"expected a text, got {type(text).__name__}"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            where = f"U+{ord(text[error.start]):04X} at character {error.start}"
            return f"the text holds half a surrogate pair ({where}), which is not valid Unicode"
    # checking two million characters one by one would take a quarter of a second
    if not text[:1].isalnum() and not any(map(_is_visible, text[:100])) and not any(map(_is_visible, set(text[100:]))):
        return BLANK
    return None


def _is_visible(character: str) -> bool:
    # unassigned code points count as visible: an emoji may be newer than this Python; BERT's tokeniser drops U+FFFD
    category = unicodedata.category(character)
    return category[0] != "Z" and category not in ("Cc", "Cf") and character != "\ufffd"


def admit(texts: Sequence[str]) -> tuple[list[int], dict[int, str]]:
    """Positions of the texts that can be embedded, in order, and the reason for each of the others.

    >>> admit(["a", "", "b"])
    ([0, 2], {1: 'the text is empty or blank'})
    """
    doubtful: Sequence[int] = range(len(texts))
    if set(map(type, texts)) <= {str} and _is_unicode("".join(texts)):
        # what begins with a letter or digit is not blank; most texts do
        doubtful = [position for position, text in enumerate(texts) if not text[:1].isalnum()]
    failures = {position: fault for position in doubtful if (fault := fault_of(texts[position])) is not None}
    if not failures:
        return list(range(len(texts))), failures
    return [position for position in range(len(texts)) if position not in failures], failures


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
