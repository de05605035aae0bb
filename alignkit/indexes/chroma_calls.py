"""Calls to Chroma: made again while its server is away, and every refusal in one line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from alignkit.errors import ConfigError, DataError
from alignkit.extras import needing
from alignkit.indexes.base import Metric
from alignkit.indexes.calling_again import ServerAway
from alignkit.indexes.replacing import setting
from alignkit.indexes.server_calls import ServerCalls, first_line

T = TypeVar("T")
METRICS: dict[str, Metric] = {"cosine": "cosine", "ip": "dot", "l2": "l2"}


def chroma() -> ModuleType:
    """The client library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    with needing("chroma"):
        import chromadb
    return chromadb


def silent() -> Any:
    """Settings of a client that tells nobody of its use; each client writes into its own."""
    return _silent().model_copy()


@functools.cache
def _silent() -> Any:
    """Read from the environment and from `.env` once: that takes longer than opening a small index."""
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False)


class ChromaCalls(ServerCalls):
    """A client that tells nobody of its use, and what its refusals mean.

    Args:
        url: of a server.
        path: of a folder that the client itself keeps; instead of a server.
        api_key_env: the name of the environment variable that holds the token.
        tenant: that the database belongs to.
        database: that the collections lie in.
        client: an open one, which is not closed; instead of all these.
        create: whether a folder that holds no database gets one.

    Raises:
        ConfigError: if the URL is none.
        DataError: if there is no such folder.
        EngineError: if the server cannot be reached, or refuses.
        MissingExtraError: without chromadb.
    """

    engine = "Chroma"

    def __init__(
        self,
        url: str,
        path: str | None,
        api_key_env: str | None,
        tenant: str,
        database: str,
        client: Any = None,
        *,
        create: bool = False,
    ) -> None:
        self.library = chroma()
        super().__init__(str(path or url), api_key_env, client)
        if client is None and path is not None and not create:
            if not (Path(path).expanduser() / "chroma.sqlite3").is_file():
                raise DataError(f"{path}: holds no database of Chroma; expected the folder of a PersistentClient")
        belongs = {"tenant": tenant, "database": database, "settings": silent()}
        make = (lambda: self._reaching(url, belongs)) if path is None else (lambda: self._keeping(path, belongs))
        self.client = client or self.run(lambda _: make(), patient=False)

    def names(self) -> set[str]:
        """Those of all collections."""
        return {one.name for one in self.run(lambda client: client.list_collections())}

    def collection(self, name: str) -> Any:
        """A collection of that name as it is now, which embeds nothing by itself."""
        return self.run(lambda client: client.get_collection(name, embedding_function=None))

    def close(self) -> None:
        """See `ServerCalls`."""
        super().close()
        if self._own:
            # it leaves its connections to a server open
            for part in (self.client, getattr(self.client, "_admin_client", None)):
                session = getattr(getattr(part, "_server", None), "_session", None)
                if session is not None:
                    session.close()

    def _once(self, call: Callable[[Any], T]) -> T:
        import httpx

        try:
            return call(self.client)
        except httpx.TransportError as error:
            raise ServerAway(self._worded(f"{self.where}: {first_line(error)}; is the server running?")) from None
        except (ValueError, TypeError) as error:
            # an argument that it does not take, or no server at all
            where = f" ({self.where}; is the server running?)" if "connect" in str(error) else ""
            raise self._worded(f"{first_line(error)}{where}") from None
        except self.library.errors.ChromaError as error:
            raise self._worded(first_line(error) or type(error).__name__) from None

    def _keeping(self, path: str, belongs: dict[str, Any]) -> Any:
        return self.library.PersistentClient(path=str(Path(path).expanduser()), **belongs)

    def _reaching(self, url: str, belongs: dict[str, Any]) -> Any:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{setting('url')}={self.where}: expected an address such as http://127.0.0.1:8000")
        ssl = parts.scheme == "https"
        headers = {"x-chroma-token": self._key} if self._key else {}
        port = parts.port or (443 if ssl else 8000)
        return self.library.HttpClient(host=parts.hostname, port=port, ssl=ssl, headers=headers, **belongs)
