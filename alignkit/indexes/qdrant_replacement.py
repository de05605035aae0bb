"""New vectors in a collection of their own, and one change of aliases that puts it in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows, Stretch, picked
from alignkit.indexes.qdrant_calls import QdrantCalls
from alignkit.indexes.qdrant_ids import point_id
from alignkit.indexes.replacement import Note, Replacement
from alignkit.indexes.replacing import (
    NEW,
    OLD,
    beside,
    expect_all,
    expect_width,
    usable_rows,
)
from alignkit.indexes.stages import Stage

# the server refuses requests of more than 32 MB
_POINTS_AT_ONCE = 256
_NOTE = "alignkit"


class QdrantReplacement(Replacement[VectorIndex]):
    """A new collection with the same points, payload and further vectors, behind an alias of its own.

    What is asked for must be an alias, as Qdrant can rename no collection: `cut_over` and `roll_back` are one atomic
    change of aliases. A point that is inserted meanwhile is given by `missing`; one that is changed or deleted after it
    was written is not noticed, so let nobody do that between `begin` and `cut_over`. The note is in the new
    collection's metadata, which servers before 1.16 do not keep.

    Args:
        index: over the alias.
        calls: to the server.
        alias: that applications read.
        vector: the name of the vector, "" for the nameless one.
        reopen: reads the index's parameters again.
        opened: the same of another alias, as an index.
    """

    def __init__(
        self,
        index: VectorIndex,
        calls: QdrantCalls,
        alias: str,
        vector: str,
        reopen: Callable[[], None],
        opened: Callable[[str], VectorIndex],
    ) -> None:
        self._opened = opened
        self.index, self.calls, self.alias, self.vector, self._reopen = index, calls, alias, vector, reopen
        self.new, self.old = beside(alias, NEW), beside(alias, OLD)

    def way(self, dim: int) -> str:
        """See `Replacement`; refused where `begin` would be."""
        self._expect_alias(self._aliases())
        return (
            "a new collection is filled with the same points and payload, and points that are added meanwhile are "
            "caught up; let nobody change or delete points until cut_over, which like roll_back is one change of "
            "aliases"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        aliases = self._aliases()
        return "cut over" if self.old in aliases else "begun" if self.new in aliases else "untouched"

    def _begin(self, dim: int) -> None:
        """See `Replacement`."""
        aliases = self._aliases()
        self._expect_alias(aliases)
        if self.new in aliases:
            expect_width(int(self._dense(self.new)[self.vector].size), dim)
            return
        self._create(aliases[self.alias], self._free_name(), dim)

    @property
    def written_together(self) -> bool:
        """See `Replacement`."""
        return not self.calls.local

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`."""
        for rows in self.index.within(within, batch):
            written = self.calls.run(partial(self._written, list(map(point_id, rows.ids))))
            if len(written) < len(rows):
                yield picked(rows, [row for row, one in enumerate(rows.ids) if point_id(one) not in written])

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`; points without a usable vector are moved too, with the vector left out."""
        if self.stage() != "begun":
            raise DataError("cannot write: no replacement has begun, or it is in use")
        kept, made = usable_rows(rows, vectors, int(self._dense(self.new)[self.vector].size))
        new = dict(zip([point_id(rows.ids[row]) for row in kept], made, strict=True))
        for start in range(0, len(rows), _POINTS_AT_ONCE):
            ids = list(map(point_id, rows.ids[start : start + _POINTS_AT_ONCE]))
            self.calls.run(partial(self._copy, ids, new))
        return len(kept)

    def build_index(self) -> str:
        """See `Replacement`."""
        return "HNSW, which Qdrant builds by itself"

    def _cut_over(self, force: bool) -> None:
        """See `Replacement`."""
        expect_all(max(0, self.index.describe().rows - self._count(self.new)), force)
        self._turn(self.new, self.old)

    def _roll_back(self) -> None:
        """See `Replacement`."""
        self._turn(self.old, self.new)

    def _drop_old(self) -> None:
        """See `Replacement`."""
        self._drop(self.old)

    def _give_up(self) -> None:
        """See `Replacement`."""
        if self.new in self._aliases():
            self._drop(self.new)

    def _other(self, stage: Stage) -> VectorIndex:
        """See `Replacement`."""
        return self._opened(self.old if stage == "cut over" else self.new)

    def _read_note(self, stage: Stage) -> Note | None:
        """See `Replacement`."""
        made = self._made(stage)
        found = self.calls.run(lambda client: client.get_collection(made)).config.metadata
        return (found or {}).get(_NOTE)

    def _keep_note(self, note: Note, stage: Stage) -> None:
        """See `Replacement`."""
        self.calls.run(lambda client: client.update_collection(self._made(stage), metadata={_NOTE: note}))

    def _expect_alias(self, aliases: dict[str, str]) -> None:
        if self.alias not in aliases:
            raise DataError(
                f"{self.alias}: this is a collection, and Qdrant can rename none; make an alias of it, "
                "let your application read that, and give its name"
            )

    def _made(self, stage: Stage) -> str:
        """The collection of the new vectors."""
        return self._aliases()[self.alias if stage == "cut over" else self.new]

    def _written(self, ids: list[Any], client: Any) -> set[Any]:
        """Those of the ids that the new collection has."""
        found = client.retrieve(self.new, ids, with_payload=False, with_vectors=False)
        return {point.id for point in found}

    def _count(self, name: str) -> int:
        return int(self.calls.run(lambda client: client.count(name, exact=True)).count)

    def _copy(self, ids: list[Any], new: dict[Any, np.ndarray], client: Any) -> None:
        """Points as they are now, with the new vector in the old one's place; those deleted since are left out."""
        models, points = self.calls.models, []
        for point in client.retrieve(self.alias, ids, with_payload=True, with_vectors=True):
            vectors = dict(point.vector) if isinstance(point.vector, dict) else {}
            vectors.pop(self.vector, None)
            if point.id in new:
                vectors[self.vector] = new[point.id].tolist()
            given = vectors.get("", {}) if set(vectors) <= {""} else vectors
            points.append(models.PointStruct(id=point.id, vector=given, payload=point.payload))
        if points:
            client.upsert(self.new, points, wait=True)

    def _create(self, old: str, name: str, dim: int) -> None:
        info = self.calls.run(lambda client: client.get_collection(old))
        given = info.config.params.vectors
        if isinstance(given, dict):
            vectors: Any = {
                key: one.model_copy(update={"size": dim} if key == self.vector else {}) for key, one in given.items()
            }
        else:
            vectors = given.model_copy(update={"size": dim})
        sparse, operation = info.config.params.sparse_vectors, self.calls.models.CreateAliasOperation
        alias = self.calls.models.CreateAlias(collection_name=name, alias_name=self.new)

        def work(client: Any) -> None:
            if not client.collection_exists(name):
                client.create_collection(name, vectors_config=vectors, sparse_vectors_config=sparse)
            for field, schema in (info.payload_schema or {}).items():
                client.create_payload_index(name, field, schema.params or schema.data_type)
            client.update_collection_aliases([operation(create_alias=alias)])

        self.calls.run(work)

    def _free_name(self) -> str:
        taken = {one.name for one in self.calls.run(lambda client: client.get_collections()).collections}
        return next(name for number in range(1, len(taken) + 2) if (name := f"{self.alias}_{number}") not in taken)

    def _turn(self, coming: str, going: str) -> None:
        """The alias goes to the collection behind `coming`, and `going` to the one it had; all at once."""
        aliases, models = self._aliases(), self.calls.models
        operations = [
            *(
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))
                for name in (self.alias, coming)
            ),
            *(
                models.CreateAliasOperation(
                    create_alias=models.CreateAlias(collection_name=aliases[to], alias_name=name)
                )
                for name, to in ((self.alias, coming), (going, self.alias))
            ),
        ]
        self.calls.run(lambda client: client.update_collection_aliases(operations))
        self._reopen()

    def _drop(self, alias: str) -> None:
        collection, models = self._aliases()[alias], self.calls.models
        delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        self.calls.run(lambda client: client.delete_collection(collection))
        self.calls.run(lambda client: alias in self._aliases() and client.update_collection_aliases([delete]))

    def _aliases(self) -> dict[str, str]:
        found = self.calls.run(lambda client: client.get_aliases()).aliases
        return {one.alias_name: one.collection_name for one in found}

    def _dense(self, name: str) -> dict[str, Any]:
        found = self.calls.run(lambda client: client.get_collection(name)).config.params.vectors
        return found if isinstance(found, dict) else {"": found}
