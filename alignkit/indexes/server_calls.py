"""What the clients of Chroma, Milvus and Qdrant share: a key that is never shown, patience, and one line an error."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeVar

from alignkit.credentials import from_environment, redacted
from alignkit.errors import EngineError
from alignkit.indexes.calling_again import WAITS_S, called_again
from alignkit.indexes.replacing import setting

T = TypeVar("T")


class ServerCalls(abc.ABC):
    """A client, and what its refusals mean.

    Attributes:
        engine: its name, as its users write it.
        client: of the library; `None` while it is being opened.
        where: the server or the folder, without secrets.
        waits_s: how long to wait for a server that is away, before each further try.

    Args:
        where: URL or path.
        api_key_env: the name of the environment variable that holds the key.
        client: an open one, which is not closed.
    """

    engine: ClassVar[str]

    def __init__(self, where: str, api_key_env: str | None, client: Any) -> None:
        self.client = client
        self.waits_s: tuple[float, ...] = WAITS_S
        self.where = redacted(where)
        self._own = client is None
        self._key = None if api_key_env is None else from_environment(setting("api_key_env"), api_key_env)

    def run(self, call: Callable[[Any], T], *, patient: bool = True) -> T:
        """What the call returns.

        Args:
            call: takes the client; may be made again.
            patient: whether a server that is away is waited for.

        Raises:
            EngineError: if the server refuses, or stays away.
        """
        return called_again(partial(self._once, call), self.waits_s if patient else ())

    def close(self) -> None:
        """Close the client, unless it was handed in."""
        if self._own and self.client is not None:
            self.client.close()

    @abc.abstractmethod
    def _once(self, call: Callable[[Any], T]) -> T:
        """What the call returns; `ServerAway` where it may go through later, `EngineError` for a refusal."""

    def _worded(self, said: str) -> EngineError:
        return EngineError(redacted(f"{self.engine}: {said}", [self._key] if self._key else []))


def first_line(said: object) -> str:
    r"""Of what a library said, which may be long.

    >>> first_line(" refused\nat line 7 "), first_line(None)
    ('refused', '')
    """
    return (str(said or "").strip().splitlines() or [""])[0]
