"""`migrate target=…`: a table of PostgreSQL becomes a collection of Qdrant, step by step, while it is being changed."""

import uuid

import numpy as np
import pytest
from small_moves import save_demo_head

from alignkit.pairs.demo import load_demo

ROWS = 24


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture
def moves(run_command, tmp_path, demo, postgres, connection, table):
    """Runs one step from a table with a price beside each text, to a folder of Qdrant's client; row 3 has no vector."""
    save_demo_head(demo, tmp_path / "head")
    connection.execute(f"CREATE TABLE {table} (key text PRIMARY KEY, body text, price numeric, embedding vector(256))")
    for row in range(ROWS):
        add(connection, table, demo, row)
    connection.execute(f"UPDATE {table} SET embedding = NULL WHERE key = 'doc 3'")
    place = ("source=pgvector", f"source.url={postgres.url}", f"source.table={table}", "source.text=body", "head=head")
    there = ("target=qdrant", "target.path=there", "target.collection=docs")

    def run(step, *more):
        code, out, err = run_command("migrate", f"step={step}", *place, *there, *more)
        assert all(len(line) <= 80 for line in out.splitlines())
        return code, " ".join(out.split()), err

    return run


def add(connection, table, demo, row):
    values = (f"doc {row}", demo.train.texts[row], row / 4, str(np.asarray(demo.train.student[row], float).tolist()))
    connection.execute(f"INSERT INTO {table} VALUES (%s, %s, %s, %s)", values)


def points(folder):
    """What an application reads, with Qdrant's own client."""
    from qdrant_client import QdrantClient

    client = QdrantClient(path=str(folder))
    try:
        if not client.collection_exists("docs"):
            return None
        found = client.scroll("docs", limit=1000, with_payload=True, with_vectors=True)[0]
        return {point.id: point for point in found}
    finally:
        client.close()


def test_a_table_becomes_a_collection_with_ids_texts_and_payload(moves, demo, connection, table, tmp_path):
    code, out, err = moves("plan")
    assert (code, err) == (0, "")
    assert "moved to collection docs of Qdrant" in out and "becomes a UUIDv5" in out
    assert not list((tmp_path / "there").rglob("*_1"))  # planning makes nothing
    code, out, err = moves("copy")
    assert (code, err) == (0, "")
    assert f"{ROWS - 1} rows got a vector of 384 dimensions in collection docs" in out
    # the table goes on to be used
    add(connection, table, demo, ROWS)
    connection.execute(f"UPDATE {table} SET price = 99 WHERE key = 'doc 1'")
    connection.execute(f"DELETE FROM {table} WHERE key = 'doc 2'")
    assert "rows without a new vector: 2" in moves("status")[1]
    assert "of which 2 came or changed since the copy" in moves("verify")[1]
    code, out, _ = moves("copy")
    assert "2 rows got a vector" in out and "deleted there too: 1" in out
    assert "smallest cosine 1.000000" in moves("verify")[1]
    assert "run step=compare first" in moves("cut_over")[2]
    assert "rows as queries" in moves("compare")[1]
    assert points(tmp_path / "there") is None  # nobody finds it half done
    code, out, err = moves("cut_over")
    assert (code, err) == (0, "") and "let it read the new index from now on" in out
    found = points(tmp_path / "there")
    own = {row: str(uuid.uuid5(uuid.NAMESPACE_URL, f"doc {row}")) for row in range(ROWS + 1)}
    assert set(found) == {key for row, key in own.items() if row != 2}
    payload = {name: value for name, value in found[own[1]].payload.items() if name != "_alignkit_version"}
    assert payload == {"body": demo.train.texts[1], "price": 99, "_alignkit_id": "doc 1"}
    assert not found[own[3]].vector  # kept all the same
    assert moves("copy")[0] == 1  # the application may write there now
    assert moves("roll_back")[0] == 0
    assert points(tmp_path / "there") is None
    assert moves("cut_over")[0] == 0
    code, out, _ = moves("drop_old")
    assert code == 0 and "an index like any other" in out
    assert "_alignkit_version" not in points(tmp_path / "there")[own[1]].payload
    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == ROWS


def test_what_is_there_already_is_not_touched(moves, tmp_path):
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(tmp_path / "there"))
    client.create_collection("docs", vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT))
    client.close()
    for step in ("plan", "copy", "give_up"):
        code, _, err = moves(step)
        assert code == 1 and "is there already, and no migration made it" in err
    assert points(tmp_path / "there") == {}


def test_given_up_nothing_is_left(moves, tmp_path):
    assert moves("copy")[0] == 0
    assert moves("give_up")[0] == 0
    assert points(tmp_path / "there") is None
    assert "stage: untouched" in moves("status")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("target.payload=[price]",), "what is moved is named by source.payload"),
        (("target.api_key_env=NONE_SUCH",), "target.api_key_env"),
    ],
)
def test_wrong_words_are_one_line(moves, words, said):
    code, _, err = moves("status", *words)
    assert code == 1 and said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("step=plan", "target=qdrant", "target.collection=docs"), "target= needs the index that is moved: source="),
        (
            ("step=plan", "source=parquet", "source.path=x", "target=qdrant"),
            "target.collection is not set; give it as target.collection=...",
        ),
    ],
)
def test_a_target_alone_or_without_a_name_is_refused(run_command, words, said):
    code, _, err = run_command("migrate", *words)
    assert code == 1 and said in err and err.count("\n") == 1
