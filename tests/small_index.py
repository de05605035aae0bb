"""A small index of texts, and models whose vectors tell the text."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alignkit.embedders.base import EmbeddedBatch
from alignkit.indexes.parquet import ParquetIndex

DIM = 5


def vector_of(text):
    return np.random.default_rng(list(text.encode())).normal(size=DIM).astype(np.float32)


class Words:
    """Vectors that tell the text; a text of more than eight words is read to the eighth."""

    def __init__(self, model, dim):
        self.model, self.dim, self.asked = model, dim, []

    def settings(self, role="document"):
        return {"model": self.model, "prompt": role}

    identity = settings

    def provenance(self):
        return {}

    def embed(self, texts, role="document"):
        self.asked += texts
        rows = np.array([np.resize(vector_of(text), self.dim) for text in texts], dtype=np.float32)
        cut = [place for place, text in enumerate(texts) if len(text.split()) > 8]
        yield EmbeddedBatch(np.arange(len(texts)), rows.reshape(-1, self.dim), {}, cut)

    def close(self):
        self.is_closed = True


def index_of(path, texts, vectors=None, ids=None):
    vectors = [vector_of(text or "") for text in texts] if vectors is None else vectors
    columns = {
        "key": ids or [f"doc {row}" for row in range(len(texts))],
        "body": texts,
        "embedding": pa.array(vectors, pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), path)
    return ParquetIndex(str(path), text="body", id="key")
