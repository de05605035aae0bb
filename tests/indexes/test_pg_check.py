"""`check index=pgvector` on a real table, as a user runs it; no server of a model is there."""

import json

import numpy as np

from alignkit.pairs.demo import load_demo


def test_a_swap_in_postgresql_is_a_failure_that_names_the_rows(whole_pack, run_command, postgres, table):
    train = load_demo("two_layer", validation=0.1, seed=0).train
    rows = np.random.default_rng(0).permutation(len(train.texts))[:1200]
    texts = [train.texts[row] for row in rows]
    vectors = np.float32(np.r_[train.teacher[rows[:700]], train.student[rows[700:]]])
    with postgres.connect() as connection:
        connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, embedding vector(384))")
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row, text in enumerate(texts):
                copy.write_row((1000 + row, text, str(vectors[row].tolist())))
    words = ("index=pgvector", f"index.url={postgres.url}", f"index.table={table}", "index.text=body")
    code, out, err = run_command("check", "format=json", *words)
    assert code == 1, err
    found = {finding["topic"]: finding for finding in json.loads(out)}
    assert "1,200 rows, 384-d float32" in found["index"]["message"]
    assert found["index one model"]["status"] == "failure"
    assert "the rows from 1700 on (42%)" in found["index one model"]["message"]
    assert not {"teacher", "student"} & found.keys(), "an index alone needs no embedder"
