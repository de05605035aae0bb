"""Calls to Qdrant: made again while its server is away, and every refusal in one line."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from alignkit.extras import needing
from alignkit.indexes.calling_again import ServerAway
from alignkit.indexes.server_calls import ServerCalls, first_line

T = TypeVar("T")
_AWAY = {502, 503, 504}


def qdrant() -> ModuleType:
    """The client library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    with needing("qdrant"):
        import qdrant_client
    return qdrant_client


class QdrantCalls(ServerCalls):
    """A client, and what its refusals mean.

    Args:
        url: of a server.
        path: of a folder that the client itself keeps; instead of a server.
        api_key_env: the name of the environment variable that holds the key.
        client: an open one, which is not closed; instead of both.
        timeout_s: of one call.

    Raises:
        EngineError: if the folder is in use.
        MissingExtraError: without qdrant-client.
    """

    engine = "Qdrant"

    def __init__(
        self, url: str, path: str | None, api_key_env: str | None, client: Any = None, timeout_s: int = 60
    ) -> None:
        library = qdrant()
        self.models = library.models
        super().__init__(str(path or url), api_key_env, client)
        try:
            self.client = client or (
                library.QdrantClient(path=path)
                if path
                else library.QdrantClient(url=url, api_key=self._key, timeout=timeout_s, check_compatibility=False)
            )
        except RuntimeError as error:  # a folder that another process holds
            raise self._worded(first_line(error)) from None

    @property
    def local(self) -> bool:
        """Whether the client itself keeps the points, without a server and without approximate search."""
        from qdrant_client.local.qdrant_local import QdrantLocal

        return isinstance(getattr(self.client, "_client", None), QdrantLocal)

    def _once(self, call: Callable[[Any], T]) -> T:
        from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

        try:
            return call(self.client)
        except UnexpectedResponse as error:
            status = f"status {error.status_code} {error.reason_phrase}"
            if error.status_code in _AWAY:  # a proxy's answer, whose words are a page
                raise ServerAway(self._worded(f"{self.where}: {status}")) from None
            said = first_line(error.structured().get("status", {}).get("error") if error.content else None)
            raise self._worded(said or status) from None
        except ApiException as error:
            raise ServerAway(self._worded(f"{self.where}: {first_line(error)}; is the server running?")) from None
        except (ValueError, KeyError) as error:  # the client's own words where it keeps the folder itself
            raise self._worded(first_line(error)) from None
