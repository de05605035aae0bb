"""A new collection of Milvus, filled with the rows of another index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignkit.indexes.milvus import MilvusIndex
from alignkit.indexes.milvus_calls import MilvusCalls
from alignkit.indexes.milvus_filling import MilvusFilling
from alignkit.indexes.replacing import EVERYTHING


class NewMilvusIndex(MilvusFilling):
    """See `MilvusFilling`, and `MilvusIndex` for the settings; payload becomes fields that are not declared.

    Args:
        collection: its name.
        url: of a server.
        path: of a file of Milvus Lite; one that is not there is made.
        api_key_env: the name of the environment variable that holds the token.
        database: that the collection lies in.
        vector: the field of vectors; `None` for "vector".
        text: the field of texts; `None` for "text".
        payload: all is kept.
        client: an open `MilvusClient`, instead of an address.
    """

    def __init__(
        self,
        collection: str,
        url: str = "http://127.0.0.1:19530",
        path: str | None = None,
        api_key_env: str | None = None,
        database: str = "default",
        vector: str | None = None,
        text: str | None = None,
        payload: Sequence[str] = (),
        client: Any = None,
    ) -> None:
        calls, text = MilvusCalls(url, path, api_key_env, database, client, create=True), text or "text"

        def opened() -> MilvusIndex:
            return MilvusIndex(collection, vector=vector, text=text, payload=EVERYTHING, client=calls.client)

        super().__init__(calls, collection, ("id", vector or "vector", text), opened)
