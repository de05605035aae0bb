"""Parses an answer into checked float32 vectors, fast: 3,584 numbers are about 75 KB of JSON per text."""

from __future__ import annotations

import binascii
import functools
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pybase64

from alignkit.embedders.remote.server_faults import (
    SUSPECT_ATTEMPTS,
    MisfitFault,
    ServerError,
    ShapeFault,
    TextFault,
    TransientFault,
)
from alignkit.embedders.rows import UNSOUND, sound_rows
from alignkit.servers.untrusted_words import one_line, words_in

NO_NUMBERS = "the server gave no numbers for it"
USELESS = "its model is broken or does not fit its precision: see its log and load the model again"
LITTLE_ENDIAN_FLOAT32 = np.dtype("<f4")


def parse_json(body: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        TransientFault: if the body is not JSON, such as a proxy's HTML page or a truncated body.
        ShapeFault: if it is JSON but not an object.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = _parse_lenient(body, content_type)
    if not isinstance(found, dict):
        raise ShapeFault(f"expected an answer that is a JSON object, got a {type(found).__name__}")
    return found


def _parse_lenient(body: bytes, content_type: str) -> Any:
    # Python servers write NaN and Infinity, which are not valid JSON; that row is refused later, the others are good
    try:
        return json.loads(body)
    except ValueError:
        start = one_line(body[:60].decode("utf-8", errors="replace"))
        words = f"it is {one_line(content_type, 60) or 'of no named type'} and starts {start!r}"
        raise TransientFault("the answer is not JSON", words, attempts=SUSPECT_ATTEMPTS, after=ShapeFault) from None


@functools.lru_cache(maxsize=16)
def _packer(width: int) -> struct.Struct:
    return struct.Struct(f"{width}f")


def row_of(embedding: object) -> np.ndarray | None:
    """One embedding as `(dim,)` float32; None if it does not consist of numbers.

    Args:
        embedding: a list of numbers, or the base64 text of little-endian float32.

    >>> row_of([0.5, 1]).tolist(), row_of("AAAAPw==").tolist(), row_of([None]) is None
    ([0.5, 1.0], [0.5], True)
    """
    if isinstance(embedding, list):
        try:
            # three times as fast as numpy.array for a list of Python floats; beyond float32 they become infinite
            return np.frombuffer(_packer(len(embedding)).pack(*embedding), dtype=np.float32)
        except (struct.error, OverflowError):  # the latter for integers beyond float64
            return None
    if isinstance(embedding, str):
        try:
            return np.frombuffer(pybase64.b64decode(embedding, validate=True), dtype=LITTLE_ENDIAN_FLOAT32)
        except (binascii.Error, ValueError):
            return None
    return None


def embeddings_in(answer: dict[str, Any], name: str) -> list[Any]:
    """The list under a given name in an answer.

    Raises:
        ShapeFault: if there is no such list; the message says what is there instead.
    """
    found = answer.get(name)
    if isinstance(found, list):
        return found
    words = words_in({key: answer[key] for key in ("error", "message", "detail") if key in answer})
    instead = f"it says: {words}" if words else f"its fields are {one_line(', '.join(sorted(answer)), 100) or 'none'}"
    raise ShapeFault(f"the answer has no list '{name}'; {instead}")


def entries_in(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in a list of an answer, such as a server's models; other entries are dropped.

    >>> entries_in({"data": [{"id": "a"}, "b", None]}, "data"), entries_in({"data": "a"}, "data")
    ([{'id': 'a'}], [])
    """
    found = answer.get(name)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def order_by_index(entries: Sequence[object]) -> list[object]:
    """OpenAI's `data`, whose entries carry an index and come in any order → embeddings in order.

    Raises:
        ShapeFault: if the entries are not objects of that form.
        ServerError: if an index is missing, repeated or out of range, so embeddings cannot be matched to texts.
    """
    if not all(isinstance(entry, dict) for entry in entries):
        raise ShapeFault("the answer holds no entries with an embedding each")
    ordered: list[object] = [None] * len(entries)
    seen = set()
    for place, entry in enumerate(entries):
        index = entry.get("index", place)  # type: ignore[attr-defined]
        if not isinstance(index, int) or not 0 <= index < len(entries) or index in seen:
            raise ServerError(
                f"its {len(entries)} embeddings are not numbered from 0 (index {one_line(repr(index), 20)} is "
                "repeated or out of range), so they cannot be matched to the texts; set batch_size=1",
                "wrong indices",
            )
        seen.add(index)
        ordered[index] = entry.get("embedding")  # type: ignore[attr-defined]
    return ordered


def check_rows(embeddings: Sequence[object], count: int) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Check an answer's embeddings against the request.

    Args:
        embeddings: as the server returned them, in order.
        count: how many texts were sent.

    Returns:
        Positions `(n,)` int64 of the valid ones, their vectors `(n, dim)` float32, and position → reason for the rest.

    Raises:
        MisfitFault: if there are more or fewer embeddings than that of the texts, or their widths differ.
        TextFault: if at least half of them cannot be used: that is hardly the texts' fault.
    """
    if len(embeddings) != count:
        raise MisfitFault(f"the server gave {len(embeddings)} vectors for {count} texts")
    rows = [row_of(embedding) for embedding in embeddings]
    failures = dict.fromkeys((place for place, row in enumerate(rows) if row is None or not len(row)), NO_NUMBERS)
    kept = [(place, row) for place, row in enumerate(rows) if row is not None and len(row)]
    if len({len(row) for _, row in kept}) > 1:
        raise MisfitFault(f"the server gave vectors of widths {sorted({len(row) for _, row in kept})} in one answer")
    places = np.array([place for place, _ in kept], dtype=np.int64)
    vectors = (
        np.stack([row for _, row in kept]).astype(np.float32, copy=False) if kept else np.empty((0, 0), np.float32)
    )
    good = sound_rows(vectors)
    failures.update(dict.fromkeys(places[~good].tolist(), UNSOUND))
    if count and 2 * len(failures) >= count:
        reason = failures[min(failures)]
        raise TextFault(
            reason if count == 1 else f"{len(failures)} of {count} vectors in one answer: {reason}", USELESS
        )
    return (places, vectors, failures) if good.all() else (places[good], vectors[good], failures)
