"""Calls to Milvus: made again while its server is away, and every refusal in one line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from alignkit.credentials import from_environment, redacted
from alignkit.errors import DataError, EngineError, MissingExtraError
from alignkit.indexes.base import Metric
from alignkit.indexes.calling_again import WAITS_S, ServerAway, called_again
from alignkit.indexes.replacing import setting

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
    try:
        import pymilvus
    except ImportError:
        raise MissingExtraError("pymilvus", "milvus") from None
    return pymilvus


def literal(value: str | int | float | bool) -> str:
    r"""A value as an expression of Milvus has it.

    >>> print(literal('a "b" \\ c'), literal(True), literal(0.5))
    "a \"b\" \\ c" true 0.5
    """
    return f'"{value.translate(_ESCAPED)}"' if isinstance(value, str) else json.dumps(value)


class MilvusCalls:
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
        self.waits_s: tuple[float, ...] = WAITS_S
        self._own = client is None
        self._key = None if api_key_env is None else from_environment(setting("api_key_env"), api_key_env)
        self.where = redacted(str(path or url))
        if client is None:
            # these show every refusal with its traceback; Milvus Lite is a server inside this process
            for name in ("pymilvus", "milvus_lite", "grpc._server"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            if path is not None and not create and not Path(path).expanduser().exists():
                raise DataError(f"{path}: no such file; expected one of Milvus Lite")
        address = url if path is None else str(Path(path).expanduser())
        settings = {} if path is not None else {"token": self._key or "", "db_name": database, "timeout": 30}
        self.client = client or self.run(lambda _: self.library.MilvusClient(address, **settings), patient=False)

    def run(self, call: Callable[[Any], T], *, patient: bool = True) -> T:
        """What the call returns.

        Args:
            call: takes the client; may be made again.
            patient: whether a server that is away is waited for.

        Raises:
            EngineError: if the server refuses, or stays away.
        """

        def once() -> T:
            try:
                return call(getattr(self, "client", None))
            except (self.library.MilvusException, ValueError) as error:
                said = (str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__])[0]
                away = any(word.lower() in said.lower() for word in _AWAY)
                worded = self._worded(said, away)
                raise (ServerAway(worded) if away else worded) from None

        return called_again(once, self.waits_s if patient else ())

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

    def close(self) -> None:
        """Close the client, unless it was handed in."""
        if self._own and hasattr(self, "client"):
            self.client.close()

    def _worded(self, said: str, away: bool) -> EngineError:
        if "Open local milvus failed" in said:
            said = f"{self.where}: cannot be opened; only one process can have it open"
        elif away:
            said = f"{self.where}: {said}; is the server running?"
        return EngineError(redacted(f"Milvus: {said}", [self._key] if self._key else []))
