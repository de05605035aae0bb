"""What a vector is filed under: a hash of the identity that made it and of its text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignkit.errors import CacheError

DIGEST_BYTES = 16
# 128 bits as two integers, so that numpy and SQLite compare them as machine words
KEY = np.dtype([("high", "<i8"), ("low", "<i8")])


def identity_digest(identity: Mapping[str, Any]) -> bytes:
    """16 bytes that are equal for equal identities, whatever the order of their fields.

    Raises:
        CacheError: if the identity is not plain JSON.

    >>> identity_digest({"model": "m", "dim": 3}) == identity_digest({"dim": 3, "model": "m"})
    True
    """
    try:
        text = json.dumps(identity, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise CacheError(f"an embedder's identity must be plain JSON values: {error}") from None
    return hashlib.blake2b(text.encode("ascii"), digest_size=DIGEST_BYTES).digest()


def text_keys(digest: bytes, texts: Sequence[str]) -> np.ndarray:
    """Keys `(N,)` of dtype `KEY` of texts under one identity.

    A lone surrogate is hashed like any other character: whether such a text can be embedded is the embedder's affair.

    >>> text_keys(bytes(16), ["a", "b", "a"]).tolist()[0] == text_keys(bytes(16), ["a"]).tolist()[0]
    True
    """
    start = hashlib.blake2b(digest, digest_size=DIGEST_BYTES)
    digests = []
    for text in texts:
        state = start.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), dtype=KEY)


def same_keys(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row by row, `(N,)` bool; comparing the two words is much faster than comparing records."""
    return (first["high"] == second["high"]) & (first["low"] == second["low"])


def contains(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which of `keys` `(N,)` are among `wanted` `(M,)`: bool `(N,)`."""
    found = np.isin(keys["high"], wanted["high"])
    if found.any():
        exact = {tuple(key) for key in wanted.tolist()}
        rows = np.flatnonzero(found)
        candidates = zip(keys["high"][rows].tolist(), keys["low"][rows].tolist(), strict=True)
        found[rows] = [candidate in exact for candidate in candidates]
    return found
