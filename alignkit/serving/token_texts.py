"""Texts that arrive as token ids of an encoding of OpenAI's, as LangChain sends them unless told otherwise."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.serving.request_faults import RequestFault
from alignkit.serving.worker import Worker

if TYPE_CHECKING:
    from tiktoken import Encoding

# of OpenAI's models for embeddings, and what clients take for a name that tiktoken does not know
USUAL = "cl100k_base"
_SOURCE = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
LONGEST_LOAD_S = 20.0


def token_arrays(given: Any) -> list[list[int]] | None:
    """The arrays of an `input` that is one of tokens or a list of such; None for anything else.

    >>> token_arrays([1, 2]), token_arrays([[1], [2, 3]]), token_arrays(["a"]), token_arrays([[1], "a"])
    ([[1, 2]], [[1], [2, 3]], None, None)
    """
    if not isinstance(given, list) or not given or isinstance(given[0], str):
        return None
    arrays = given if isinstance(given[0], list) else [given]
    return arrays if all(map(_is_array, arrays)) else None


def _is_array(given: Any) -> bool:
    return isinstance(given, list) and set(map(type, given)) == {int}


class TokenTexts:
    """Turns tokens back into texts by the encoding of the model that a client asked for.

    Args:
        most_tokens: of one request; a text has no fewer characters.
    """

    def __init__(self, most_tokens: int) -> None:
        self._most_tokens = most_tokens
        self._encodings: dict[str, Encoding] = {}

    async def of(self, arrays: list[list[int]], model: str) -> list[str]:
        """One text for each array.

        Raises:
            RequestFault: 400 if the encoding is not on this machine or has no such token, 422 for too many tokens.
        """
        if (count := sum(map(len, arrays))) > self._most_tokens:
            words = f"input has {count} tokens; at most {self._most_tokens} are allowed per request"
            raise RequestFault(422, words, param="input", code="too_long")
        encoding = await self._encoding(model)
        texts = []
        for place, tokens in enumerate(arrays):
            try:
                # where a client cut a long text in the middle of a character, its halves are left out
                texts.append(encoding.decode(tokens, errors="ignore"))
            except (KeyError, OverflowError):
                words = f"input[{place}] holds a token that {encoding.name} does not have; {_WAY_OUT}"
                raise RequestFault(400, words, param="input", code="invalid_tokens") from None
        return texts

    async def _encoding(self, model: str) -> Encoding:
        if importlib.util.find_spec("tiktoken") is None:
            raise _unreadable('without tiktoken on the server (pip install "alignkit[tiktoken]")')
        name = _encoding_of(model)
        if name not in self._encodings:
            fetch = f"python -c \"import tiktoken; tiktoken.get_encoding('{name}')\""
            if not _file_of(name).is_file():
                raise _unreadable(f"without tiktoken's file of {name} on the server ({fetch})")
            try:
                self._encodings[name] = await _loaded(name)
            except Exception:  # noqa: BLE001 -- whatever is wrong with the file, tiktoken's own words name its path
                raise _unreadable(f"because tiktoken's file of {name} on the server is damaged ({fetch})") from None
        return self._encodings[name]


_WAY_OUT = "send texts (LangChain: check_embedding_ctx_length=False)"


def _unreadable(why: str) -> RequestFault:
    words = f"input holds token ids, which cannot be read {why}; {_WAY_OUT}"
    return RequestFault(400, words, param="input", code="tokens_not_supported")


def _encoding_of(model: str) -> str:
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model)
    except KeyError:
        return USUAL


def _file_of(encoding: str) -> Path:
    """Where tiktoken keeps the file of an encoding. It would download one that is not there, without a time limit."""
    unnamed = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", unnamed))
    return Path(folder) / hashlib.sha1(_SOURCE.format(encoding).encode()).hexdigest()  # noqa: S324 -- tiktoken's own


async def _loaded(name: str) -> Encoding:
    """Reading a hundred thousand tokens takes most of a second, so it is done beside the event loop."""
    import tiktoken

    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Encoding] = loop.create_future()
    worker = Worker[str, Any](tiktoken.get_encoding)
    worker.call(name, loop, functools.partial(_settle, loaded))
    worker.end()
    async with asyncio.timeout(LONGEST_LOAD_S):
        return await loaded


def _settle(loaded: asyncio.Future[Any], encoding: Any, error: BaseException | None) -> None:
    if loaded.done():
        return
    if error is None:
        loaded.set_result(encoding)
    else:
        loaded.set_exception(error)
