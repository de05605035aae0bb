"""How far the replacement of an index's vectors is, and which step comes when."""

from __future__ import annotations

from typing import Literal

from alignkit.errors import DataError

Stage = Literal["untouched", "begun", "cut over"]
_WORDS: dict[Stage, str] = {
    "untouched": "no replacement has begun",
    "begun": "new vectors lie beside the old ones and are not in use",
    "cut over": "the new vectors are in use and the old ones are kept",
}


def expect_begun(stage: Stage, what: str) -> None:
    """Refuse a step that needs new vectors, in use or not.

    Raises:
        DataError: if there are none.
    """
    if stage == "untouched":
        raise DataError(f"cannot {what}: no replacement has begun")


def expect(stage: Stage, wanted: Stage, what: str) -> None:
    """Refuse a step that does not come now.

    Raises:
        DataError: which says how far the replacement is.
    """
    if stage != wanted:
        raise DataError(f"cannot {what}: {_WORDS[stage]}; this needs that {_WORDS[wanted]}")


def expect_room(stage: Stage) -> None:
    """Refuse to begin while the old vectors of the last replacement are kept.

    Raises:
        DataError: which says what to do first.
    """
    if stage == "cut over":
        raise DataError("cannot begin: the old vectors of the last replacement are kept; roll back or drop them first")


def expect_not_in_use(stage: Stage) -> None:
    """Refuse to delete new vectors that searches use.

    Raises:
        DataError: which says what to do first.
    """
    if stage == "cut over":
        raise DataError("cannot give up the new vectors: they are in use; roll back first")
