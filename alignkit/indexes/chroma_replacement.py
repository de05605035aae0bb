"""New vectors in a collection of their own, and the two changes of names that put it in use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from alignkit.indexes.base import VectorIndex
from alignkit.indexes.chroma_calls import ChromaCalls
from alignkit.indexes.chroma_filling import ChromaFilling
from alignkit.indexes.chroma_filters import DOCUMENT
from alignkit.indexes.collection_replacement import CollectionReplacement
from alignkit.indexes.new_index import NewIndex
from alignkit.indexes.stages import Stage


class ChromaReplacement(CollectionReplacement):
    """See `CollectionReplacement`; a row without a usable vector gets a zero one, as Chroma knows no missing ones.

    Chroma changes one name at a time: for a few milliseconds of `cut_over` and `roll_back` no collection has the name.
    A change that was interrupted there is undone by the next step, and until then the old collection is read. An
    application that holds a collection open keeps to it, whatever its name, until it gets it again by that name.

    Args:
        calls: to Chroma.
        name: of the collection that applications read.
        whole: opens the index with all its texts and metadata.
        opened: another collection as an index.
        reopen: reads the index's parameters again.
    """

    def __init__(
        self,
        calls: ChromaCalls,
        name: str,
        whole: Callable[[], VectorIndex],
        opened: Callable[[str], VectorIndex],
        reopen: Callable[[], None],
    ) -> None:
        super().__init__(name, whole, opened, reopen)
        self.calls = calls

    def way(self, dim: int) -> str:
        """See `Replacement`."""
        return (
            "a new collection is filled with the same rows, and rows that are added, changed or deleted meanwhile are "
            "caught up; cut_over and roll_back change two names, and for a few milliseconds no collection has this "
            "one; let applications get the collection again afterwards, as whoever holds it open keeps to the old one"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        there = self.names()
        if self.name not in there and {self.new, self.old} <= there:
            self._rename(self.old, self.name)
        return super().stage()

    def new_index(self, name: str) -> NewIndex:
        """See `CollectionReplacement`."""
        return ChromaFilling(self.calls, name, DOCUMENT, partial(self._opened, name), like=self.name)

    def names(self) -> set[str]:
        """See `CollectionReplacement`."""
        return self.calls.names()

    def turn(self, coming: str, going: str) -> None:
        """See `CollectionReplacement`."""
        self._rename(self.name, going)
        self._rename(coming, self.name)

    def drop(self, name: str) -> None:
        """See `CollectionReplacement`."""
        self.calls.run(lambda client: client.delete_collection(name))

    def _rename(self, name: str, other: str) -> None:
        collection = self.calls.collection(name)
        self.calls.run(lambda _: collection.modify(name=other))
