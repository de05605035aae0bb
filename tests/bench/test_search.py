"""`POST /search` on 100,000 rows of PostgreSQL: what it adds to the student, the head and the engine."""

import http.client
import json
import statistics
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
# the quietest of many short rounds: on a busy machine every change from one process to the next waits
ROUNDS, QUERIES = 20, 50
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


def median_ms(call, queries):
    times = []
    for query in queries:
        started = time.perf_counter()
        call(query)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def test_a_search_adds_less_than_a_millisecond(static_run, postgres, docs, benchmark):
    queries = (load_demo("static").test.texts * 10)[:QUERIES]
    aligned = AlignedEmbedder(load_artifact(static_run), StaticEmbedder())
    words = (f"head={static_run}", "index=pgvector", f"index.url={postgres.url}", f"index.table={docs}")
    with served([*words, "index.text=body"]) as url, PgvectorIndex(docs, postgres.url, text="body") as index:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

        def searched(query):
            connection.request("POST", "/search", json.dumps({"query": query}), {"content-type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            assert len(answer["hits"]) == 10 and answer["route"] == "head"

        def found(query):
            ids, _ = index.search(vectors[query], 10)
            index.fetch(ids[0])

        vectors = {query: aligned.encode([query]) for query in queries}
        for query in queries:
            searched(query)
            found(query)
        calls = (searched, lambda query: aligned.encode([query]), found)
        rounds = [[median_ms(call, queries) for call in calls] for _ in range(ROUNDS)]
        connection.close()
    whole, embedding, engine = (min(part) for part in zip(*rounds, strict=True))
    added = whole - embedding - engine
    benchmark.extra_info.update(whole_ms=whole, embedding_ms=embedding, engine_ms=engine, added_ms=added)
    benchmark.pedantic(lambda: None, rounds=1)
    assert added < MOST_ADDED_MS
