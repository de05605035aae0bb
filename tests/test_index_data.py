"""The commands on `data=index`: a head from the rows of a user's own index, without the teacher."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignkit.artifact import load_artifact
from alignkit.cache import VectorCache
from alignkit.embedders.base import embed_all
from alignkit.embedders.static import StaticEmbedder
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
    assert "Test split, 40 pairs" in out
    meta = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert meta["source"].startswith("docs.parquet, column embedding: a sample of 200 of its 300 rows")
    assert "the rows' own texts serve as queries" in meta["notes"]
    assert (meta["queries"], meta["corpus"]) == (40, 200)  # all rows that were read, so that a cascade can be judged
    assert load_artifact(tmp_path / "run").teacher_identity is None
    code, _, err = run_command("evaluate", "head=run", "data=index", *documents, "data.sample=200", "html=false",
                               "tensorboard=false", "time_embedding=false", "hydra.run.dir=judged")  # fmt: skip
    assert code == 0, err
    report = (tmp_path / "judged" / "alignment_report.md").read_text(encoding="utf-8")
    assert "in all 300 rows of docs.parquet, column embedding, 40 test queries find" in report
    assert "the teacher's own queries find 100.0% through the engine" in report
    code, out, err = run_command("demo", "head=run", "data=index", *documents, "data.sample=200", "samples=1", "topk=3")
    assert code == 0, err
    assert "teacher's index" in out


def test_judged_queries_are_measured_through_the_engine_beside_the_teacher(run_command, tmp_path, demo):
    texts = list(demo.texts[:300])
    teacher = StaticEmbedder()
    vectors = pa.array(list(embed_all(teacher, texts)), pa.list_(pa.float32()))
    table = {"id": list(range(300)), "body": texts, "embedding": vectors}
    pq.write_table(pa.table(table), tmp_path / "docs.parquet")
    asked = [" ".join(text.split()[:4]) + f" please {row}" for row, text in enumerate(texts[:40])]
    (tmp_path / "asked.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{row}", "text": text}) for row, text in enumerate(asked)), encoding="utf-8"
    )
    lines = ["query-id\tcorpus-id\tscore", *(f"q{row}\t{row}\t1" for row in range(40))]
    (tmp_path / "judged.tsv").write_text("\n".join(lines), encoding="utf-8")
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(teacher, asked, "query")
    words = ("index=parquet", "index.path=docs.parquet", "index.text=body", "index.id=id", "teacher=static",
             "data.queries=asked.jsonl", "data.qrels=judged.tsv", "data.sample=100")  # fmt: skip
    code, out, err = run_command(*TRAIN, *words, "hydra.run.dir=run")
    assert code == 0, err
    assert "nDCG@10" in out
    code, _, err = run_command("evaluate", "head=run", "data=index", *words, "html=false", "tensorboard=false",
                               "time_embedding=false", "hydra.run.dir=judged")  # fmt: skip
    assert code == 0, err
    meta = json.loads((tmp_path / "judged" / "metrics.json").read_text(encoding="utf-8"))["meta"]
    assert (meta["measure"], meta["queries"], meta["seen_in_training"]) == ("ndcg@10", 40, 0)
    assert any(note.startswith("nDCG@10 there, of the head and of the teacher: 0.") for note in meta["notes"])
    assert any("in all 300 rows of docs.parquet, column embedding, 40 test queries" in note for note in meta["notes"])


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
