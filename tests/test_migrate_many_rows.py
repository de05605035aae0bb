"""The six commands of the README on 20,000 rows of a real PostgreSQL: half a minute on a busy machine."""

import time

import numpy as np
from small_moves import save_demo_head

from alignkit.indexes.pg_rows import written
from alignkit.pairs.demo import load_demo

ROWS = 20_000


def test_the_six_commands_of_the_readme(run_command, tmp_path, postgres, connection, table):
    demo = load_demo("static")
    save_demo_head(demo, tmp_path / "head")
    # real sentences and the student's real vectors, each several times
    texts, vectors = demo.train.texts, np.asarray(demo.train.student, np.float32)
    connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, embedding vector(256))")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "text", "bytea"])
        sent = written(vectors, "vector")
        for row in range(ROWS):
            copy.write_row((row, texts[row % len(texts)], sent[row % len(texts)].tobytes()))
    place = ("source=pgvector", f"source.url={postgres.url}", f"source.table={table}")
    with_head = ("source.text=body", "head=head")
    said = {
        "plan": f"{ROWS:,} rows of 256 dimensions become 384",
        "copy": f"{ROWS:,} rows got a vector of 384 dimensions",
        "verify": "1,000 rows, read back, hold what the head makes of their old vector",
        "compare": "rows as queries",
        "cut_over": "the new vectors are in use",
        "roll_back": "the old vectors are in use",
    }
    told = []
    for step, words in said.items():
        started = time.perf_counter(), time.process_time()
        more = with_head if step in ("plan", "copy", "verify") else ()
        code, out, err = run_command("migrate", f"step={step}", *place, *more)
        took = time.perf_counter() - started[0], time.process_time() - started[1]
        told.append(f"{step}: {took[0]:.1f} s, {took[1]:.1f} CPU s of our own")
        assert (code, err) == (0, ""), err
        assert words in " ".join(out.split())
    print("\n" + "\n".join(told))
    asked = f"SELECT vector_dims(embedding), vector_dims(embedding_alignkit_new), count(*) FROM {table} GROUP BY 1, 2"
    assert connection.execute(asked).fetchall() == [(256, 384, ROWS)]
