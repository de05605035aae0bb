"""New vectors in a collection of their own, and the change of an alias that puts it in use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.collection_replacement import CollectionReplacement
from alignkit.indexes.milvus_calls import MilvusCalls
from alignkit.indexes.milvus_filling import SEEN, MilvusFilling
from alignkit.indexes.new_index import NewIndex
from alignkit.indexes.replacing import beside
from alignkit.indexes.stages import Stage


class MilvusReplacement(CollectionReplacement):
    """See `CollectionReplacement`; a row without a usable vector gets a zero one.

    What is asked for must be an alias, as only that can be changed in one step: `cut_over` and `roll_back` alter it,
    and before and after it two aliases of our own, in an order that any step understands.

    Args:
        calls: to Milvus.
        alias: that applications read.
        names: of the fields of ids and of vectors.
        whole: opens the index with all its fields.
        opened: another collection as an index.
        reopen: reads the index's parameters again.
    """

    def __init__(
        self,
        calls: MilvusCalls,
        alias: str,
        names: tuple[str, str],
        whole: Callable[[], VectorIndex],
        opened: Callable[[str], VectorIndex],
        reopen: Callable[[], None],
    ) -> None:
        super().__init__(alias, whole, opened, reopen)
        self.calls, (self.key, self.vector) = calls, names

    def way(self, dim: int) -> str:
        """See `Replacement`; refused where `begin` would be."""
        self._expect_alias()
        return (
            "a new collection is filled with the same rows, and rows that are added, changed or deleted meanwhile are "
            "caught up; cut_over and roll_back alter one alias"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        old = self.calls.behind(self.old)
        if old is not None and old != self.calls.behind(self.name):
            return "cut over"
        return "untouched" if self._begun() is None else "begun"

    def new_index(self, name: str) -> NewIndex:
        """See `CollectionReplacement`."""
        collection = (self._begun() if name == self.new else self.calls.behind(name)) or self._free_name()
        opened = partial(self._opened, collection)
        return MilvusFilling(self.calls, collection, (self.key, self.vector, None), opened, like=self.name)

    def names(self) -> set[str]:
        """See `CollectionReplacement`."""
        return {name for name in (self.name, self.new, self.old) if self.calls.behind(name) is not None}

    def turn(self, coming: str, going: str) -> None:
        """See `CollectionReplacement`."""
        live, then = self.calls.behind(self.name), self.calls.behind(coming)
        self._point(going, str(live))
        self._point(self.name, str(then))
        self.calls.run(lambda client: client.drop_alias(coming))

    def drop(self, name: str) -> None:
        """See `CollectionReplacement`."""
        collection = self.calls.behind(name)
        self.calls.run(lambda client: client.drop_alias(name))
        self.calls.run(lambda client: client.drop_collection(collection))

    def _begin(self, dim: int) -> None:
        self._expect_alias()
        moving = self._moving(anew=True)
        moving.begin(dim)
        if self._begun() is None:
            self._point(self.new, str(getattr(moving.new, "collection", "")))

    def _give_up(self) -> None:
        begun, made = self._begun(), self.new_index(self.new)
        if begun is not None:
            self.calls.run(lambda client: client.drop_alias(self.new))
        made.give_up()  # also what an interrupted step left without an alias

    def _begun(self) -> str | None:
        """The collection that is being filled; a change that was interrupted leaves its alias on the one in use."""
        found = self.calls.behind(self.new)
        return None if found == self.calls.behind(self.name) else found

    def _expect_alias(self) -> None:
        if self.calls.behind(self.name) == self.name:
            raise DataError(
                f"{self.name}: this is a collection, which has its name for good; make an alias of it, let your "
                "application read that, and give its name"
            )

    def _point(self, alias: str, collection: str) -> None:
        there = self.calls.behind(alias) is not None
        self.calls.run(
            lambda client: (client.alter_alias if there else client.create_alias)(
                collection_name=collection, alias=alias
            )
        )

    def _free_name(self) -> str:
        """A name that is not taken, or of a collection that was begun and got no alias before the process ended."""
        there = set(self.calls.names())
        return next(
            name for number in count(1) if (name := f"{self.name}_{number}") not in there or beside(name, SEEN) in there
        )
