"""An embedder of the tests: vectors from the text's own bytes, counted calls, faults on demand."""

import hashlib

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.embedders.embeddable import admit


class SmallEmbedder:
    def __init__(self, model="small", dim=8, fault=None, **provenance):
        self.model, self.dim, self.fault = model, dim, fault
        self.asked = []
        self._provenance = provenance

    def settings(self, role="document"):
        return {"backend": "small", "model": self.model}

    identity = settings

    def provenance(self):
        return dict(self._provenance)

    def embed(self, texts, role="document"):
        if self.fault is not None:
            raise self.fault
        self.asked += texts
        positions, failures = admit(texts)
        yield EmbeddedBatch(
            np.array(positions, dtype=np.int64),
            np.array([self._vector(texts[place]) for place in positions], dtype=np.float32).reshape(-1, self.dim),
            failures,
        )

    def _vector(self, text):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
        return np.random.default_rng(seed).normal(size=self.dim)

    def close(self):
        pass
