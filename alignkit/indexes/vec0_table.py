"""What the declaration of a vec0 table says, and the ordinary tables behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from alignkit.errors import DataError
from alignkit.indexes.base import Metric
from alignkit.indexes.index_rows import Id, whole_ids
from alignkit.indexes.replacing import is_beside, setting
from alignkit.indexes.sqlite_file import SqliteFile, quoted

_USING = re.compile(r"\busing\s+vec0\s*\((.*)\)\s*;?\s*$", re.IGNORECASE | re.DOTALL)
_VECTOR = re.compile(r"^(\w+)\s+(float|f32|int8|i8|bit|\w+)\s*\[\s*(\d+)\s*\](.*)$", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(r"^(\w+)\s+(\w+)\s+primary\s+key$", re.IGNORECASE)
_COLUMN = re.compile(r"^(\+?)\s*(\w+)\s+(\w+)(\s+partition\s+key)?$", re.IGNORECASE)
_METRIC = re.compile(r"distance_metric\s*=\s*(\w+)", re.IGNORECASE)
_METRICS: dict[str, Metric] = {"cosine": "cosine", "l2": "l2"}
# the tables that vec0 makes for each of its own
_BEHIND = re.compile(r"_(info|chunks|rowids|auxiliary|vector_chunks\d\d|metadatachunks\d\d|metadatatext\d\d)")


@dataclass(frozen=True)
class Vec0Table:
    """A vec0 table.

    Attributes:
        name: as it is stored.
        arguments: of its declaration.
        key: the column that names the rows.
        text_keys: whether they are texts; otherwise they are SQLite's row numbers.
        vector: the column of vectors that is read.
        vectors: all such columns.
        dim: width of that one.
        metric: that it is searched by; `None` for one of no such kind.
        filtered: columns that a search can be limited by, with their types.
        partitioned: those of them that split the table.
        others: columns that are only kept.
    """

    name: str
    arguments: tuple[str, ...]
    key: str
    text_keys: bool
    vector: str
    vectors: tuple[str, ...]
    dim: int
    metric: Metric | None
    filtered: dict[str, str]
    partitioned: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def rowids(self) -> str:
        """The ordinary table of all its keys, quoted."""
        return quoted(f"{self.name}_rowids")

    @property
    def key_of_rowids(self) -> str:
        """The column of its keys in `rowids`."""
        return "id" if self.text_keys else "rowid"

    @property
    def columns(self) -> tuple[str, ...]:
        """All that a row holds, key and vectors included, in the order of the declaration."""
        declared = [part.group(1) for one in self.arguments if (part := re.match(r"\+?\s*(\w+)\s+\w", one))]
        return tuple(dict.fromkeys([self.key, *declared]))

    def possible(self, ids: Sequence[Id]) -> list[Id]:
        """Those of the ids that a row of this table could have, as it has them."""
        if self.text_keys:
            return [str(one) for one in ids]
        return list(whole_ids(ids))

    def declared(self, name: str, dim: int) -> str:
        """The statement that makes a table like this one, with vectors of another width."""
        parts = [_with_width(one, dim) if _names(one, self.vector) else one for one in self.arguments]
        return f"CREATE VIRTUAL TABLE {quoted(name)} USING vec0({', '.join(parts)})"


def find_vec0(file: SqliteFile, name: str, vector: str | None) -> Vec0Table:
    """A vec0 table, and which of its columns holds the vectors.

    Args:
        file: that it lies in.
        name: its name.
        vector: the column that is asked for; `None` takes the only one.

    Raises:
        DataError: if there is no such table or column, or the column holds something other than floats.
    """
    tables = vec0_tables(file)
    if name not in tables:
        there = ", ".join(one for one in tables if not is_beside(one)) or "none"
        raise DataError(f"{setting('table')}={name}: no such vec0 table in {file.path}; there are: {there}")
    arguments = tuple(part.strip() for part in tables[name].split(","))
    vectors = {found[1]: found for one in arguments if (found := _VECTOR.match(one))}
    if (vector is None and len(vectors) != 1) or (vector is not None and vector not in vectors):
        got = "none is named" if vector is None else f"got {vector}"
        raise DataError(
            f"table {name}: columns of vectors: {', '.join(vectors) or 'none'}; expected one as "
            f"{setting('vector')}=…, {got}"
        )
    chosen = vectors[vector or next(iter(vectors))]
    if chosen[2].lower() not in ("float", "f32"):
        raise DataError(f"table {name}: column '{chosen[1]}' holds {chosen[2]}; expected float")
    metric = _METRIC.search(chosen[4])
    key = next((found for one in arguments if (found := _KEY.match(one))), None)
    columns = [found for one in arguments if not _KEY.match(one) and (found := _COLUMN.match(one))]
    return Vec0Table(
        name=name,
        arguments=arguments,
        key=key[1] if key else "rowid",
        text_keys=bool(key) and key is not None and key[2].lower() == "text",
        vector=chosen[1],
        vectors=tuple(vectors),
        dim=int(chosen[3]),
        metric=_METRICS.get(metric[1].lower() if metric else "l2"),
        filtered={one[2]: one[3].lower() for one in columns if not one[1]},
        partitioned=tuple(one[2] for one in columns if one[4]),
        others=tuple(one[2] for one in columns if one[1]),
    )


def vec0_tables(file: SqliteFile) -> dict[str, str]:
    """All vec0 tables of a file, with the arguments of their declarations."""
    found = file.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE 'create virtual%'")
    return {name: using[1] for name, sql in found if (using := _USING.search(sql))}


def rename_vec0(file: SqliteFile, name: str, other: str) -> None:
    """Give a vec0 table another name, with the tables behind it, which SQLite's own renaming would leave behind.

    Whoever has the file open finds them by the new names from then on; triggers and views go on with the old name. To
    be called inside a transaction.
    """
    behind = [
        one
        for (one,) in file.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if one.startswith(name) and _BEHIND.fullmatch(one, len(name))
    ]
    file.rows(f"ALTER TABLE {quoted(name)} RENAME TO {quoted(other)}")
    # a version of vec0 that renames them itself leaves none here
    left = {one for (one,) in file.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for one in behind:
        if one in left:
            file.rows(f"ALTER TABLE {quoted(one)} RENAME TO {quoted(other + one[len(name) :])}")


def _names(argument: str, vector: str) -> bool:
    found = _VECTOR.match(argument)
    return found is not None and found[1] == vector


def _with_width(argument: str, dim: int) -> str:
    return re.sub(r"\[\s*\d+\s*\]", f"[{int(dim)}]", argument, count=1)
