"""Calls to Milvus: made again while its server is away, and every refusal in one line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.indexes.base import Metric
from alignkit.indexes.calling_again import ServerAway
from alignkit.indexes.server_calls import ServerCalls, first_line

T = TypeVar("T")
METRICS: dict[str, Metric] = {"COSINE": "cosine", "IP": "dot", "L2": "l2"}
# it knows no escapes of other signs, and takes those as they are
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
_AWAY = ("UNAVAILABLE", "failed to connect", "connection refused", "not reachable")


def milvus() -> ModuleType:
    """The client library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    with needing("milvus"):
        import pymilvus
    return pymilvus


def literal(value: str | int | float | bool) -> str:
    r"""A value as an expression of Milvus has it.

    >>> print(literal('a "b" \\ c'), literal(True), literal(0.5))
    "a \"b\" \\ c" true 0.5
    """
    return f'"{value.translate(_ESCAPED)}"' if isinstance(value, str) else json.dumps(value)


class MilvusCalls(ServerCalls):
    """A client, and what its refusals mean.

    Args:
        url: of a server.
        path: of a file of Milvus Lite, instead of a server.
        api_key_env: the name of the environment variable that holds the token.
        database: that the collections lie in.
        client: an open one, which is not closed; instead of all these.
        create: whether a file that is not there is made.

    Raises:
        DataError: if there is no such file.
        EngineError: if the server cannot be reached, or the file is in use.
        MissingExtraError: without pymilvus.
    """

    engine = "Milvus"

    def __init__(
        self,
        url: str,
        path: str | None,
        api_key_env: str | None,
        database: str,
        client: Any = None,
        *,
        create: bool = False,
    ) -> None:
        self.library = milvus()
        super().__init__(str(path or url), api_key_env, client)
        if client is None:
            # these show every refusal with its traceback; Milvus Lite is a server inside this process
            for name in ("pymilvus", "milvus_lite", "grpc._server"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            if path is not None and not create and not Path(path).expanduser().exists():
                raise DataError(f"{path}: no such file; expected one of Milvus Lite")
        address = url if path is None else str(Path(path).expanduser())
        settings = {} if path is not None else {"token": self._key or "", "db_name": database, "timeout": 30}
        self.client = client or self.run(lambda _: self.library.MilvusClient(address, **settings), patient=False)

    def behind(self, name: str) -> str | None:
        """The collection that a name or an alias stands for; `None` for none."""
        if not self.run(lambda client: client.has_collection(name)):
            return None
        return str(self.run(lambda client: client.describe_collection(name))["collection_name"])

    def load(self, collection: str) -> None:
        """Make a collection readable: one in a file that was opened anew is not yet."""
        self.run(lambda client: client.load_collection(collection))

    def names(self) -> list[str]:
        """Those of all collections."""
        return sorted(self.run(lambda client: client.list_collections()))

    def _once(self, call: Callable[[Any], T]) -> T:
        try:
            return call(self.client)
        except (self.library.MilvusException, ValueError) as error:
            said = first_line(getattr(error, "message", error)) or type(error).__name__
            if "Open local milvus failed" in said:
                raise self._worded(f"{self.where}: cannot be opened; only one process can have it open") from None
            if any(word.lower() in said.lower() for word in _AWAY):
                raise ServerAway(self._worded(f"{self.where}: {said}; is the server running?")) from None
            raise self._worded(said) from None
