"""`POST /search` on 100,000 rows of PostgreSQL: what it adds to the student, the head and the engine.

From the request to its answer, without HTTP itself: that is the same for every route, and `test_serving` measures it.
"""

import http.client
import json
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from served_command import served

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact
from alignkit.embedders.static import StaticEmbedder
from alignkit.indexes.pg_rows import written
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.pairs.demo import load_demo

pytest.importorskip("uvicorn")
pytest.importorskip("wordllama")

ROWS, DIM = 100_000, 384
QUERIES, WARM_UP = 1000, 100
MOST_ADDED_MS = 1.0


@pytest.fixture
def docs(connection, table):
    """Real sentences' vectors of the teacher, each many times with a little noise."""
    real = np.asarray(load_demo("static").train.teacher, dtype=np.float32)
    draw = np.random.default_rng(0)
    connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, embedding vector({DIM}))")
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "text", "bytea"])
        for start in range(0, ROWS, len(real)):
            noisy = real + 0.02 * draw.standard_normal(real.shape).astype(np.float32)
            for row, one in enumerate(written(noisy[: ROWS - start], "vector"), start):
                copy.write_row((row, f"sentence {row}", one.tobytes()))
    connection.execute(f"CREATE INDEX ON {table} USING ivfflat (embedding vector_cosine_ops) WITH (lists = 300)")
    return table


def ms_of(call, query):
    started = time.perf_counter()
    call(query)
    return 1000 * (time.perf_counter() - started)


def test_a_search_adds_less_than_a_millisecond(static_run, postgres, docs, record_property):
    queries = (load_demo("static").test.texts * 10)[:QUERIES]
    aligned = AlignedEmbedder(load_artifact(static_run), StaticEmbedder())
    words = (f"head={static_run}", "index=pgvector", f"index.url={postgres.url}", f"index.table={docs}")
    with served([*words, "index.text=body"]) as url, PgvectorIndex(docs, postgres.url, text="body") as index:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

        def searched(query):
            connection.request("POST", "/search", json.dumps({"query": query}), {"content-type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            assert len(answer["hits"]) == 10 and answer["route"] == "head"
            served_ms.append(answer["ms"]["total"])

        def found(query):
            ids, _ = index.search(vectors[query], 10)
            index.fetch(ids[0])

        served_ms = []
        vectors = {query: aligned.encode([query]) for query in queries}
        calls = (searched, lambda query: aligned.encode([query]), found)
        # in turns, so that whatever else the machine does slows all of them alike
        rounds = [[ms_of(call, query) for call in calls] for query in queries]
        connection.close()
    client, embedding, engine = np.array(rounds[WARM_UP:]).T
    server = np.array(served_ms[WARM_UP:])
    figures = {"client_ms": client, "server_ms": server, "embedding_ms": embedding, "engine_ms": engine}
    figures["added_ms"] = server - embedding - engine
    for name, values in figures.items():
        record_property(name, float(np.median(values)))
    assert np.median(figures["added_ms"]) < MOST_ADDED_MS
