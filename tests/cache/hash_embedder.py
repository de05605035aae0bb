"""A model whose vectors are a known function of the text: fast, exact, and it counts what it is asked for."""

from __future__ import annotations

import hashlib

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import EmbedderError


def hash_vector(text: str, dim: int) -> np.ndarray:
    seed = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (
        np.random.default_rng(int.from_bytes(seed, "little")).standard_normal(dim).astype(np.float16).astype(np.float32)
    )


class HashEmbedder:
    """`asked` lists every text that was sent; texts that hold "bad" have no vector."""

    def __init__(self, dim=8, digest="d1", batch_size=16, version="1", prompt="", vector=hash_vector):
        self.dim = dim
        self.digest = digest
        self.batch_size = batch_size
        self.version = version
        self.prompt = prompt
        self.vector = vector
        self.is_up = True
        self.asked: list[str] = []

    def settings(self, role="document"):
        return {"backend": "hash", "model": "hash", "prompt": f"{role}:{self.prompt}", "width": self.dim}

    def identity(self, role="document"):
        self._require_server()
        return {**self.settings(role), "digest": self.digest}

    def provenance(self):
        self._require_server()
        return {"server_version": self.version, "date": "differs each time"}

    def embed(self, texts, role="document"):
        self._require_server()
        for start in range(0, len(texts), self.batch_size):
            part = list(texts[start : start + self.batch_size])
            self.asked += part
            good = [place for place, text in enumerate(part) if "bad" not in text]
            failures = {start + place: "the model said NaN" for place in range(len(part)) if place not in good}
            rows = [self.vector(part[place], self.dim) for place in good]
            vectors = np.array(rows, dtype=np.float32).reshape(-1, self.dim)
            yield EmbeddedBatch(start + np.array(good, dtype=np.int64), vectors, failures)

    def close(self):
        pass

    def _require_server(self):
        if not self.is_up:
            raise EmbedderError("nothing answers at http://127.0.0.1:9")
