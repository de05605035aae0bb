"""A new collection of Chroma, filled with the rows of another index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignkit.indexes.chroma import ChromaIndex
from alignkit.indexes.chroma_calls import ChromaCalls
from alignkit.indexes.chroma_filling import ChromaFilling
from alignkit.indexes.chroma_filters import DOCUMENT
from alignkit.indexes.replacing import EVERYTHING


class NewChromaIndex(ChromaFilling):
    """See `ChromaFilling`, and `ChromaIndex` for the settings.

    Args:
        collection: its name.
        path: a folder that is not there is made.
        url: of a server.
        api_key_env: the name of the environment variable that holds the server's token.
        tenant: that the database belongs to.
        database: that the collection lies in.
        text: `document` or `None` for Chroma's own texts, else a field of the metadata.
        payload: all is kept.
        client: an open client of chromadb, instead of an address.
    """

    def __init__(
        self,
        collection: str,
        path: str | None = None,
        url: str = "http://127.0.0.1:8000",
        api_key_env: str | None = None,
        tenant: str = "default_tenant",
        database: str = "default_database",
        text: str | None = DOCUMENT,
        payload: Sequence[str] = (),
        client: Any = None,
    ) -> None:
        calls, text = ChromaCalls(url, path, api_key_env, tenant, database, client, create=True), text or DOCUMENT

        def opened() -> ChromaIndex:
            return ChromaIndex(collection, text=text, payload=EVERYTHING, client=calls.client)

        super().__init__(calls, collection, text, opened)
