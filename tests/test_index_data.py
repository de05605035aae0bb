"""The commands on `data=index`: a head from the rows of a user's own index, without the teacher."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignkit.artifact import load_artifact
from alignkit.pairs.demo import load_demo


@pytest.fixture(scope="module")
def demo():
    return load_demo("static", validation=0.1, seed=0).train


@pytest.fixture
def documents(tmp_path, demo):
    """A table of 300 real sentences with their teacher's vectors."""
    vectors = pa.array(list(np.asarray(demo.teacher[:300], dtype=np.float32)), pa.list_(pa.float32()))
    pq.write_table(pa.table({"body": list(demo.texts[:300]), "embedding": vectors}), tmp_path / "docs.parquet")
    return "index=parquet", "index.path=docs.parquet", "index.text=body"


TRAIN = ("train", "data=index", "student=static", "model=linear", "html=false", "confidence=false")


def test_a_head_is_trained_on_the_users_own_index(run_command, tmp_path, documents):
    code, out, err = run_command(*TRAIN, *documents, "data.sample=200", "hydra.run.dir=run")
    assert code == 0, err
    assert "Test split, 20 pairs" in out
    meta = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert meta["source"].startswith("docs.parquet, column embedding: a sample of 200 of its 300 rows")
    assert "the rows' own texts serve as queries" in meta["notes"]
    assert load_artifact(tmp_path / "run").teacher_identity is None
    code, _, err = run_command("evaluate", "head=run", "data=index", *documents, "data.sample=200", "html=false",
                               "tensorboard=false", "time_embedding=false", "hydra.run.dir=judged")  # fmt: skip
    assert code == 0, err
    report = (tmp_path / "judged" / "alignment_report.md").read_text(encoding="utf-8")
    assert "in all 300 rows of docs.parquet, column embedding, 20 test queries find" in report
    assert "the teacher's own queries find 100.0% through the engine" in report


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no index is given; name one: index=parquet"),
        (("index=parquet", "index.path=docs.parquet"), "name their column: index.text="),
        (("index=parquet", "index.path=docs.parquet", "index.text=nonesuch"), "index.text=nonesuch: no such column"),
        (("index=parquet", "index.path=docs.parquet", "index.text=body", "data.sample=3"), "data.sample=3: expected"),
        (
            ("index=parquet", "index.path=docs.parquet", "index.text=body", "data.student_live=false"),
            "student_live=true",
        ),
    ],
)
def test_what_is_wrong_with_an_index_is_one_line(run_command, tmp_path, documents, words, said):
    code, _, err = run_command(*TRAIN, *words)
    assert code == 1
    assert said in err and err.count("\n") == 1
    assert not list((tmp_path / "outputs").rglob("*"))


def test_queries_that_the_teacher_never_saw_come_with_the_command_that_asks_it(run_command, tmp_path, documents):
    (tmp_path / "asked.txt").write_text("what is this\nwhere is that\n", encoding="utf-8")
    code, _, err = run_command(*TRAIN, *documents, "data.queries=asked.txt")
    assert code == 1
    assert "python -m alignkit.embed which=teacher sentences=asked.txt" in err and "role=query" in err


def test_a_password_of_the_index_is_said_nowhere(run_command, tmp_path):
    code, _, err = run_command(
        *TRAIN,
        "index=pgvector",
        "index.url=postgresql://me:sesame@127.0.0.1:9/x",
        "index.table=docs",
        "index.text=body",
    )
    assert code == 1 and "127.0.0.1" in err
    assert "sesame" not in err
    assert not any("sesame" in path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file())
