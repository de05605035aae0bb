"""What an engine promises that takes the rows of an index in another engine."""

from __future__ import annotations

import abc
import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from alignkit.errors import ConfigError, DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows
from alignkit.indexes.replacement import Note
from alignkit.parts import TARGET

# beside the payload of each row while it is being moved, and that of rows whose id the engine does not take
VERSION, ORIGINAL_ID = "_alignkit_version", "_alignkit_id"


class NewIndex(abc.ABC):
    """A new index: the ids, texts and payload of another one, with new vectors.

    The class of `FooIndex` in `foo.py` is `NewFooIndex` in `foo_new.py` beside it, and takes the same settings:
    `vector`, `text` and `id` are names that it gives. All state lies in the engine, so that any step can be killed and
    called again, from another machine too; what `put` and `remove` have done is on the disk when they return. Settings
    that cannot be used are refused when it is made, and nothing is written before `begin`.

    **Ids** keep their type where the engine has one for it. In any case `str` of an id that the finished index gives is
    `str` of the old id: an engine that takes no such ids keeps the old one in the payload as `ORIGINAL_ID`, and its
    index gives it back.

    Attributes:
        place: what a user would call it, without secrets, as in `IndexDescription`.
        own_fields: names of its ids, texts and vectors, which no field of the payload can have.
    """

    place: str
    own_fields: tuple[str, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    @property
    def written_together(self) -> bool:
        """Whether several processes may put rows into it at the same time."""
        return False

    @abc.abstractmethod
    def way(self, dim: int) -> str:
        """What the engine does for vectors of this width, in a sentence for the user: what it cannot keep as well."""

    @abc.abstractmethod
    def note(self) -> Note | None:
        """What `begin` or `keep_note` left in the engine; `None` if nothing is there.

        Raises:
            DataError: if there is something of this name without such a note.
        """

    @abc.abstractmethod
    def keep_note(self, note: Note) -> None:
        """Leave a few JSON values in place of the earlier ones."""

    @abc.abstractmethod
    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """Make it, empty, with a note; nothing is there, or what was left when an earlier call was killed.

        Args:
            dim: of the new vectors.
            metric: that it is searched by.
            note: kept from now on.
            like: some rows that will come, for engines whose ids and fields have types; rows of other types may come.
        """

    @abc.abstractmethod
    def dim(self) -> int:
        """Width of the vectors that `begin` made room for."""

    @abc.abstractmethod
    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """Ids and versions of all rows, in any order, in bounded memory."""

    @abc.abstractmethod
    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """Write rows, each whole or not at all; a row that is there is replaced, with all its payload.

        Args:
            rows: of the other index, their ids distinct; payload values may be of any type that an engine gives.
            vectors: `(N, D)` float32; all NaN in rows that have none. Such rows are written without a vector, or not at
                all where the engine cannot do that: `way` says so.
            versions: N short texts, kept beside the payload until `finish`.
        """

    @abc.abstractmethod
    def remove(self, ids: Sequence[Id]) -> None:
        """Delete rows, by ids as `versions` gives them."""

    @abc.abstractmethod
    def build_index(self) -> str:
        """Make the rows searchable, once more if some were put since; returns what was built, in a few words."""

    @abc.abstractmethod
    def opened(self) -> VectorIndex:
        """The rows as they are, as an index to be closed, with all texts and payload.

        Raises:
            DataError: if `build_index` has not made them readable yet.
        """

    @abc.abstractmethod
    def give_up(self) -> None:
        """Delete it all."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Forget note and versions: an index remains that looks as if it had always been there."""

    def cut_over(self) -> None:  # noqa: B027 - in most engines it is up to the application
        """Give it the name that applications read, where the engine can; `way` says so. Else they choose."""

    def roll_back(self) -> None:  # noqa: B027 - as above
        """Undo `cut_over`."""

    def close(self) -> None:  # noqa: B027 - most engines have something to close, not all
        """Let go of the connection or the file."""


def new_index(settings: Mapping[str, Any]) -> NewIndex:
    """The new index that an index's settings name, whether it is there yet or not.

    Args:
        settings: as those that open the finished index, `_target_` included.

    Raises:
        ConfigError: if the engine takes no rows of others, or its settings cannot be used.
    """
    module, _, name = str(settings[TARGET]).rpartition(".")
    try:
        made = getattr(importlib.import_module(f"{module}_new"), f"New{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{module}_new":
            raise
        raise ConfigError(f"target: {name} takes no rows of another engine") from None
    return made(**{key: value for key, value in settings.items() if key != TARGET})


def version_of(rows: IndexRows) -> list[str]:
    """A short text for each row that is another one when its vector, text or payload changes."""
    texts = rows.texts or [""] * len(rows)
    return [
        hashlib.blake2b(
            vector.tobytes() + json.dumps([text, fields], sort_keys=True, default=str).encode(), digest_size=8
        ).hexdigest()
        for vector, text, fields in zip(rows.vectors, texts, rows.payload, strict=True)
    ]


def taken(place: str) -> DataError:
    """What is raised for something that is there without a migration having made it."""
    return DataError(f"{place}: is there already, and no migration made it; give the name of one that is not there")
