"""A part of some pairs, or two sets of pairs as one, without a copy of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, overload

import numpy as np
import torch
from torch import Tensor

from alignkit.pairs.base import Pairs
from alignkit.pairs.placed_rows import rows_on
from alignkit.vector_files import MappedRows


class RowIds(Sequence[str]):
    """Ids of rows that have no name: `row-0`, `row-7` …, made when they are asked for.

    Args:
        rows: `(N,)` int64.
        prefix: before the number.

    >>> list(RowIds(np.array([4, 7])))
    ['row-4', 'row-7']
    """

    def __init__(self, rows: np.ndarray, prefix: str = "row-") -> None:
        self.rows, self.prefix = rows, prefix

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> RowIds: ...
    def __getitem__(self, at: int | slice) -> str | RowIds:
        """One id, or those of some rows."""
        if isinstance(at, slice):
            return RowIds(self.rows[at], self.prefix)
        return f"{self.prefix}{self.rows[at]}"

    def __eq__(self, other: object) -> bool:
        """Whether both are the same ids in the same order."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]


class JoinedRows:
    """Two arrays below each other, read only when rows are asked for; behaves as the array of all rows.

    Args:
        first: `(N, D)`, mapped or not.
        second: `(M, D)`, likewise.
    """

    ndim = 2

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self.parts = (first, second)
        self.shape = (len(first) + len(second), first.shape[1])
        self.dtype = np.result_type(first.dtype, second.dtype)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, at: slice | np.ndarray | int) -> np.ndarray:
        """Rows as an array of their own."""
        first, second = self.parts
        rows = np.arange(len(self))[at] if isinstance(at, slice) else np.atleast_1d(at)
        own = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        early = rows < len(first)
        own[early], own[~early] = first[rows[early]], second[rows[~early] - len(first)]
        return own if isinstance(at, slice) or np.ndim(at) else own[0]

    @property
    def device(self) -> torch.device | None:
        """Where copies of both lie; `None` where one of them has none."""
        first, second = (getattr(part, "device", None) for part in self.parts)
        return first if first == second else None

    def on_device(self, rows: slice | Tensor, device: torch.device) -> Tensor:
        """See `placed_rows.rows_on`."""
        first, second = self.parts
        rows = (torch.arange(len(self))[rows] if isinstance(rows, slice) else rows).to(device)
        own, early = torch.empty(len(rows), self.shape[1], device=device), rows < len(first)
        own[early] = rows_on(first, rows[early], device)
        own[~early] = rows_on(second, rows[~early] - len(first), device)
        return own

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def take_pairs(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """Some rows `(M,)`, distinct; hard negatives that are not among them are left out."""
    return Pairs(
        ids=_take(pairs.ids, rows),
        student=_view(pairs.student, rows),
        teacher=_view(pairs.teacher, rows),
        texts=_take(pairs.texts, rows),
        labels=_take(pairs.labels, rows),
        negatives=_negatives(pairs, rows),
        groups=_take(pairs.groups, rows),
        weights=None if pairs.weights is None else pairs.weights[rows],
    )


def join_pairs(first: Pairs, second: Pairs) -> Pairs:
    """All of the first, then all of the second, with what training looks at: vectors, hard negatives and weights."""
    return Pairs(
        ids=RowIds(np.arange(len(first) + len(second))),
        student=cast(np.ndarray, JoinedRows(first.student, second.student)),
        teacher=cast(np.ndarray, JoinedRows(first.teacher, second.teacher)),
        negatives=_joined_negatives(first, second),
        weights=_joined_weights(first, second),
    )


def own_and_extra(pairs: Pairs) -> tuple[Pairs, Pairs | None]:
    """Pairs that count most, and the others where there are any: those of `join_pairs`, apart again."""
    if pairs.weights is None or (own := pairs.weights == pairs.weights.max()).all():
        return pairs, None
    return take_pairs(pairs, np.flatnonzero(own)), take_pairs(pairs, np.flatnonzero(~own))


def _joined_weights(first: Pairs, second: Pairs) -> np.ndarray | None:
    """Of both; pairs without any count once."""
    if first.weights is None and second.weights is None:
        return None
    return np.concatenate([np.ones(len(one)) if one.weights is None else one.weights for one in (first, second)])


def _joined_negatives(first: Pairs, second: Pairs) -> np.ndarray | None:
    """Of both, the second's rows counted on; where one side has none at all, its rows are padding."""
    known = [(start, pairs.negatives) for start, pairs in ((0, first), (len(first), second))]
    parts = [(start, rows) for start, rows in known if rows is not None]
    if not parts:
        return None
    joined = np.full((len(first) + len(second), max(rows.shape[1] for _, rows in parts)), -1, dtype=np.int64)
    for start, rows in parts:
        joined[start : start + len(rows), : rows.shape[1]] = np.where(rows >= 0, rows + start, -1)
    return joined


def _view(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return cast(np.ndarray, vectors.take(rows) if isinstance(vectors, MappedRows) else MappedRows(vectors, rows))


def _take(names: Any, rows: np.ndarray) -> Any:
    if isinstance(names, RowIds):
        return RowIds(names.rows[rows], names.prefix)
    return None if names is None else [names[row] for row in rows]


def _negatives(pairs: Pairs, rows: np.ndarray) -> np.ndarray | None:
    if pairs.negatives is None:
        return None
    # one place more: a padding of -1 looks itself up at the end
    new = np.full(len(pairs) + 1, -1, dtype=np.int64)
    new[rows] = np.arange(len(rows))
    return new[pairs.negatives[rows]]
