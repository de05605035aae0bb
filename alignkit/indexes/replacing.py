"""What replacements of an index's vectors have in common: names beside the old ones, and checks of what is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.replacement import Note
from alignkit.setting_names import SettingNames

NEW, OLD = "_alignkit_new", "_alignkit_old"
# `payload` that names no fields, and takes them all
EVERYTHING = ("*",)
# the longest name that PostgreSQL takes, in bytes: it cuts longer ones without a word
_LONGEST = 63


def beside(name: str, suffix: str) -> str:
    """The name of what lies beside a column or a table, short enough for every engine, and of that one alone.

    >>> beside("embedding", NEW)
    'embedding_alignkit_new'
    >>> beside("a" * 60 + "1", NEW)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_f0b89547_alignkit_new'
    """
    whole = name.encode()
    if len(whole) + len(suffix) > _LONGEST:
        # two long names may begin alike
        suffix = f"_{hashlib.sha256(whole).hexdigest()[:8]}{suffix}"
    return whole[: _LONGEST - len(suffix)].decode(errors="ignore") + suffix


def is_beside(name: str) -> bool:
    """Whether a name is one of those that `beside` gives."""
    return name.endswith((NEW, OLD))


def setting(name: str) -> str:
    """A setting of an index as the user types it, where the index is being opened.

    >>> setting("table")
    'index.table'
    """
    called = SettingNames()(name)
    return called if called != name else f"index.{name}"


def payload_fields(asked: Sequence[str], columns: Iterable[str], besides: Iterable[str | None]) -> tuple[str, ...]:
    """The fields of the payload: those that are asked for, or for `["*"]` all but `besides` and our own.

    >>> payload_fields(["*"], ["id", "body", "price", "_alignkit_version"], ["id", "body"])
    ('price',)
    """
    if tuple(asked) != EVERYTHING:
        return tuple(asked)
    own = set(besides)
    return tuple(name for name in columns if name not in own and not is_ours(name))


def is_ours(name: str) -> bool:
    """Whether a field lies in an index for the time of a migration, or for our own ends."""
    return is_beside(name) or name.startswith("_alignkit_")


def check_columns(asked: Iterable[tuple[str, str | None]], columns: Sequence[str], table: str, vector: str) -> None:
    """Refuse settings that name columns which a table does not have.

    Args:
        asked: setting and column.
        columns: that there are.
        table: its name.
        vector: the column of vectors, which none of them can be.

    Raises:
        DataError: which lists those that could be meant.
    """
    for name, column in asked:
        if column is not None and column not in columns:
            known = ", ".join(one for one in columns if one != vector) or "none"
            raise DataError(f"{setting(name)}={column}: table {table} has no such column; the others are: {known}")


def note_of(text: str | None) -> Note | None:
    """A note from its JSON; `None` where somebody else wrote something there."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def expect_width(begun: int | None, dim: int) -> None:
    """Refuse to go on with vectors of another width than those written before.

    Raises:
        DataError: which names both.
    """
    if begun is not None and begun != dim:
        raise DataError(
            f"a replacement by {begun}-d vectors has begun, and these have {dim} dimensions; go on with that one, or "
            "give it up"
        )


def expect_all(behind: int, force: bool) -> None:
    """Refuse to cut over while rows have no new vector.

    Raises:
        DataError: which says how many, and what becomes of them.
    """
    if behind and not force:
        raise DataError(
            f"{behind:,} rows have no new vector, and no search would find them; write them with step=copy, or a few "
            "in this very step with head=…, or cut over with force=true"
        )


def usable_rows(rows: IndexRows, vectors: np.ndarray, dim: int) -> tuple[list[int], np.ndarray]:
    """Positions of the rows without a fault, and their new vectors as `(M, dim)` float32.

    Raises:
        DataError: if the new vectors are not as many, of another width, or not finite.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != (len(rows), dim):
        raise DataError(f"new vectors of shape {vectors.shape}: expected {(len(rows), dim)}")
    kept = [row for row in range(len(rows)) if row not in rows.faults]
    if len(kept) < len(rows):
        vectors = vectors[kept]
    if not np.isfinite(vectors).all():
        bad = kept[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])]
        raise DataError(
            f"the new vector of row {rows.ids[bad]} holds NaN or infinity; nothing of this batch was written"
        )
    return kept, vectors
