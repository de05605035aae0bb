"""Which cells hold no value: files write "nothing" in many ways, and none of these is a label."""

from __future__ import annotations

import unicodedata

# What pandas, R, SQL, spreadsheets and people write for no value. A real label of that name costs its
# sentences their paraphrases; a missing value taken for a label makes all unlabelled sentences paraphrases.
_NOTHING = frozenset(
    "nan -nan nat null (null) none (none) nil na n/a n.a. #n/a #na <na> undefined unknown unlabeled unlabelled (blank) "
    "\\n #value! #ref! #div/0! #name? #num! #null!".split()
)


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN or blank.

    >>> is_missing(None), is_missing(float("nan")), is_missing("  "), is_missing(0)
    (True, True, True, False)
    """
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def label_of(value: object) -> str | None:
    """A label as text; None for no label.

    Punctuation alone, such as a dash or empty brackets, is not a label; a symbol such as `+` is.

    Args:
        value: a cell: text, a number or None. `3` and `3.0` are the same label.

    >>> label_of(" refund "), label_of(3.0), label_of("N/A"), label_of(float("nan")), label_of(False)
    ('refund', '3', None, None, 'False')
    """
    if is_missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    label = str(value).strip()
    return None if label.casefold() in _NOTHING or all(map(_says_nothing, label)) else label


def _says_nothing(character: str) -> bool:
    """Whether it is punctuation, a space or invisible."""
    return unicodedata.category(character)[0] in "PZC"
