"""Judgements of queries over the rows of an index: a file of qrels, and the rows that it names."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows, joined
from alignkit.sentences.beir import read_qrels

Judgements = Mapping[str, Mapping[str, int]]

# how an id of a file becomes one of an engine
_KINDS: Mapping[type, Callable[[str], Id]] = {int: int, uuid.UUID: uuid.UUID}


def read_judgements(path: str | Path) -> Judgements:
    """Query id → row id → grade, of the queries that have something relevant.

    Raises:
        DataError: if the file is no qrels, or nothing in it is relevant.
    """
    path = Path(path).expanduser()
    found: dict[str, dict[str, int]] = {}
    for query, row, grade in read_qrels(path):
        found.setdefault(query, {})[row] = grade
    if not found:
        raise DataError(f"{path}: holds no judgements; expected columns query-id, corpus-id and score, with a heading")
    found = {query: judged for query, judged in found.items() if any(grade > 0 for grade in judged.values())}
    if not found:
        raise DataError(f"{path}: judges no row of any query relevant, with a score above 0")
    return found


def with_judged(index: VectorIndex, rows: IndexRows, judgements: Judgements) -> IndexRows:
    """A sample of rows, and behind it the judged rows that were not drawn."""
    drawn = {str(one) for one in rows.ids}
    named = {name for judged in judgements.values() for name in judged if name not in drawn}
    if not named or not len(rows):
        return rows
    fetched = index.fetch(ids_as_stored(sorted(named), rows.ids))
    return joined([rows, fetched]) if len(fetched) else rows


def ids_as_stored(names: Iterable[str], examples: Iterable[Id]) -> list[Id]:
    """Ids out of a text file, in the types that an engine's ids have; a name that fits none is left out.

    >>> ids_as_stored(["7", "x"], [1, 2]), ids_as_stored(["7", "x"], ["1"])
    ([7], ['7', 'x'])
    """
    kinds = {type(one) for one in examples}
    found: list[Id] = []
    for name in names:
        for kind in kinds:
            try:
                made = _KINDS.get(kind, str)(name)
            except ValueError:
                continue
            if str(made) == name:
                found.append(made)
    return found
