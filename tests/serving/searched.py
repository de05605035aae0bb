"""A table of real sentences in a real PostgreSQL, with either model's vectors, and a served head that searches it."""

import contextlib
import itertools
import uuid

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import EmbedderError
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.pairs.demo import load_demo
from alignkit.searching.spaces import SpacesOf
from alignkit.serving.answers import Answerer
from alignkit.serving.index_pool import IndexPool
from alignkit.serving.service import Service

ROWS = 150


class RecordedTeacher:
    """Gives the real teacher's vectors of the demo's sentences, as they were recorded."""

    dim = 384
    thread_safe = False

    def __init__(self, demo):
        self.asked, self.broken, self._demo = [], False, demo
        self._vectors = dict(zip(demo.test.texts, np.asarray(demo.test.teacher, dtype=np.float32), strict=True))

    def identity(self, role="document"):
        return self._demo.origin.teacher_identity

    settings = identity

    def embed(self, texts, role="document"):
        self.asked += texts
        if self.broken:
            raise EmbedderError("a secret text would stand here")
        yield EmbeddedBatch(np.arange(len(texts)), np.stack([self._vectors[text] for text in texts]), {})


def put_table(connection, table, vectors):
    """Rows with real sentences, a topic, a year, and these vectors."""
    texts = load_demo("static").train.texts
    connection.execute(
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, year int, topic text,"
        f" embedding vector({vectors.shape[1]}))"
    )
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row, vector in enumerate(np.asarray(vectors[:ROWS], dtype=np.float32)):
            copy.write_row((row, texts[row], 2000 + row % 20, "ab"[row % 2], str(vector.tolist())))
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")


@contextlib.contextmanager
def table_of(postgres, vectors):
    """Such a table, as long as it is needed; its name."""
    name = f"t{uuid.uuid4().hex[:10]}"
    with postgres.connect() as connection:
        put_table(connection, name, vectors)
        yield name
        connection.execute(f"DROP TABLE {name}")


def searching(aligned, url, table, teacher=None, below=None, threads=2, candidates=20, **settings):
    """A service that searches the table."""
    artifact = aligned.artifact

    def opened():
        index = PgvectorIndex(table, url, text="body", payload=["year", "topic"])
        index.hurry()
        return index

    def spaces():
        return SpacesOf(opened, artifact.digest(), artifact.student_dim, artifact.teacher_dim)

    service = Service(Answerer(aligned, teacher, below, keep_student=True), fallback_timeout_s=60, **settings)
    service.serve_index(IndexPool(spaces, threads), candidates)
    return service


def ids_of(answer):
    return [hit["id"] for hit in answer["hits"]]


def best(vectors, query, count=10, rows=None):
    """The nearest rows by the cosine, exactly."""
    vectors = np.asarray(vectors[:ROWS], dtype=np.float32)
    cosines = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ (query / np.linalg.norm(query))
    order = np.argsort(-cosines, kind="stable").tolist()
    return list(itertools.islice((row for row in order if rows is None or row in rows), count))
