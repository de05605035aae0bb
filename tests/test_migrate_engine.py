"""`migrate step=… source=…`: from a table of PostgreSQL to a cut-over and back, and what is refused on the way."""

import numpy as np
import pytest
from small_moves import save_demo_head

from alignkit.artifact import save_head
from alignkit.heads.linear import LinearHead
from alignkit.pairs.demo import load_demo

ROWS = 120


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture
def moves(run_command, tmp_path, demo, postgres, connection, table):
    """Runs one step on a table of real sentences with the vectors of the head's student, but for row 3."""
    save_demo_head(demo, tmp_path / "head")
    connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, body text, embedding vector(256))")
    for row in range(ROWS):
        vector = None if row == 3 else str(np.asarray(demo.train.student[row], dtype=np.float32).tolist())
        connection.execute(f"INSERT INTO {table} VALUES (%s, %s, %s)", (row, demo.train.texts[row], vector))
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    place = ("source=pgvector", f"source.url={postgres.url}", f"source.table={table}", "source.text=body", "head=head")

    def run(step, *more):
        code, out, err = run_command("migrate", f"step={step}", *place, *more)
        assert all(len(line) <= 80 for line in out.splitlines())
        return code, " ".join(out.split()), err

    return run


def widths(connection, table):
    return dict(connection.execute(f"SELECT vector_dims(embedding), count(*) FROM {table} GROUP BY 1").fetchall())


def test_from_a_table_to_a_cut_over_and_back_and_for_good(moves, demo, connection, table, tmp_path):
    code, out, err = moves("plan")
    assert (code, err) == (0, "")
    assert f"{ROWS} rows of 256 dimensions become 384" in out
    assert "rows, embedded again, hold the vector of l2_supercat_256 (median cosine 1.0000)" in out
    assert "the first: 3 (it has no vector)" in out and "nothing was changed; next: step=copy" in out
    assert "stage: untouched" in moves("status")[1]
    code, out, err = moves("copy")
    assert (code, err) == (0, "")
    assert f"{ROWS - 1} rows got a vector of 384 dimensions" in out and "HNSW by cosine" in out
    assert widths(connection, table) == {256: ROWS - 1, None: 1}  # nobody sees a difference yet
    code, _, err = moves("cut_over")
    assert code == 1 and "run step=verify and step=compare first, or cut over with force=true" in err
    assert "makes of their old vector: smallest cosine 1.000000 next: step=compare" in moves("verify")[1]
    assert "run step=compare first" in moves("cut_over")[2]
    code, out, err = moves("compare")
    assert (code, err) == (0, "") and f"{ROWS - 1} rows as queries" in out and "next: step=cut_over" in out
    assert "while half of the rows are moved, a search of both halves" in out
    # each sentence as a query shall find itself
    lines = [f"q{row}\t{demo.train.texts[row]}" for row in range(0, ROWS, 4)]
    (tmp_path / "asked.tsv").write_text("\n".join(["id\ttext", *lines]), encoding="utf-8")
    judged = [f"q{row}\t{row}\t1" for row in range(0, ROWS, 4)]
    (tmp_path / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]), encoding="utf-8")
    code, out, err = moves("compare", "queries=asked.tsv", "qrels=qrels.tsv")
    assert (code, err) == (0, "")
    assert "nDCG@10 of 30 judged queries: 1.000 by the student in the old vectors, 0.9" in out
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tnonesuch\t1", encoding="utf-8")
    code, _, err = moves("compare", "queries=asked.tsv", "qrels=qrels.tsv")
    assert code == 1 and "no query finds a row that is judged for it" in err
    code, out, err = moves("cut_over")
    assert (code, err) == (0, "")
    assert "embed queries from now on with all-MiniLM-L6-v2, or with l2_supercat_256 and the head" in out
    assert widths(connection, table) == {384: ROWS - 1, None: 1}
    assert "stage: cut over" in moves("status")[1]
    assert moves("roll_back")[0] == 0
    assert widths(connection, table) == {256: ROWS - 1, None: 1}
    assert moves("cut_over")[0] == 0  # what was found out still holds
    assert "there is no way back" in moves("drop_old")[1]
    code, _, err = moves("roll_back")
    assert code == 1 and "cannot roll back" in err
    assert list(connection.execute(f"SELECT to_jsonb(t) FROM {table} AS t WHERE id = 5").fetchone()[0]) == [
        "id",
        "body",
        "embedding",
    ]


def test_the_teachers_own_queries_are_compared_too(moves, demo, tmp_path):
    """The head finds its own rows in its index; a teacher whose space it missed finds others."""
    own = demo.origin.student_identity
    save_head(LinearHead(256, 256).eval(), tmp_path / "other", student_identity=own, teacher_identity=own)
    assert moves("copy", "head=other")[0] == 0
    lines = [f"q{row}\t{demo.train.texts[row]}" for row in range(0, ROWS, 12)]
    (tmp_path / "asked.tsv").write_text("\n".join(["id\ttext", *lines]), encoding="utf-8")
    judged = [f"q{row}\t{row}\t1" for row in range(0, ROWS, 12)]
    (tmp_path / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]), encoding="utf-8")
    code, out, err = moves("compare", "head=other", "queries=asked.tsv", "qrels=qrels.tsv", "teacher=static")
    assert (code, err) == (0, "")
    assert "of the ten rows that the teacher's own query finds in the new vectors, student and head find" in out
    assert "by student and head in the new, 0." in out and "by the teacher in the new" in out
    code, _, err = moves("compare", "head=other", "queries=asked.tsv", "teacher=two_layer")
    assert code == 1 and "teacher" in err and err.count("\n") == 1
    code, _, err = moves("compare", "teacher=static")
    assert code == 1 and "teacher= embeds the queries of step=compare; name their file: queries=FILE" in err


def test_rows_that_came_after_the_copy_are_taken_along(moves, connection, table):
    assert moves("copy")[0] == 0
    connection.execute(f"INSERT INTO {table} SELECT id + 1000, body, embedding FROM {table} WHERE id IN (5, 6)")
    code, out, err = moves("status")
    assert (code, err) == (0, "") and "rows without a new vector: 2" in out
    assert "they came or changed since the copy; step=cut_over head=… takes them along" in out
    assert f"{ROWS + 2} rows, of which 2 came or changed since the copy" in moves("verify")[1]
    assert moves("compare")[0] == 0
    code, _, err = moves("cut_over", "head=null")
    assert code == 1 and "2 rows have no new vector" in err and "in this very step with head=…" in err
    code, out, err = moves("cut_over")
    assert (code, err) == (0, "")
    assert "rows that had come or changed since the copy got their vectors first: 2" in out
    assert "nobody could write to it for" in out
    assert widths(connection, table) == {384: ROWS + 1, None: 1}


def test_new_vectors_are_given_up(moves):
    assert moves("copy")[0] == 0
    assert moves("give_up")[0] == 0
    assert "stage: untouched" in moves("status")[1]


def test_vectors_of_another_model_of_the_same_width_are_refused(moves, connection, table):
    """Half of the index was made by another model: every width is right, and the head would give nonsense."""
    noise = np.random.default_rng(0).standard_normal((ROWS, 256))
    for row in range(ROWS // 2, ROWS):
        connection.execute(f"UPDATE {table} SET embedding = %s WHERE id = %s", (str(noise[row].tolist()), row))
    for step in ("plan", "copy"):
        code, _, err = moves(step)
        assert code == 1 and err.count("\n") == 1
        assert "rows do not hold the vector that l2_supercat_256 gives their text (the first: 6" in err
    assert "stage: untouched" in moves("status")[1]
    code, out, _ = moves("copy", "force=true")
    assert code == 0 and f"{ROWS - 1} rows got" in out


def test_where_the_model_cannot_be_checked_the_plan_says_so(moves, postgres):
    assert "is not checked: name the texts that were embedded, source.text=…" in moves("plan", "source.text=null")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("step=plan",), "step=plan: name the engine that holds the index: source=pgvector"),
        (("source=parquet", "source.path=x.parquet"), "step is not set; give it as step=plan, or another of"),
        (("step=jump", "source=parquet", "source.path=x.parquet"), "step=jump: expected one of plan, copy"),
        (("step=plan", "source=parquet", "source.path=x.parquet"), "head is not set; give it as head=..."),
        (("step=status", "source=parquet", "source.path=x.parquet"), "x.parquet: no such file"),
        (("step=status", "source=parquet", "source.path=x.parquet", "out=y.npy"), "out=y.npy: is for files"),
        (
            ("step=status", "source=parquet", "source.path=x.parquet", "queries=q.txt"),
            "queries=q.txt: is for step=comp",
        ),
        (("step=compare", "source=parquet", "source.path=x.parquet", "qrels=q.tsv"), "name their file: queries=FILE"),
        (("step=status", "source=pgvector"), "source.table is not set; give it as source.table=..."),
        (
            ("step=status", "source=pgvector", "source.table=t", "source.url=http://x"),
            "source.url: expected an address",
        ),
        (("step=status", "source=pgvector", "source.table=t", "force=1"), "force=1: expected true or false"),
    ],
)
def test_wrong_words_are_one_line(run_command, tmp_path, words, said):
    code, _, err = run_command("migrate", *words)
    assert code == 1
    assert said in err and err.count("\n") == 1


def test_a_password_of_the_source_is_said_nowhere(run_command, tmp_path):
    url = "source.url=postgresql://me:sesame@127.0.0.1:9/x"
    code, _, err = run_command("migrate", "step=status", "source=pgvector", url, "source.table=docs")
    assert code == 1 and "is the server running, and is source.url right?" in err
    assert "sesame" not in err


def test_a_table_that_is_not_there_is_named_by_the_setting(run_command, postgres):
    url = f"source.url={postgres.url}"
    code, _, err = run_command("migrate", "step=status", "source=pgvector", url, "source.table=nonesuch")
    assert code == 1 and "source.table=nonesuch: there is no such table" in err
