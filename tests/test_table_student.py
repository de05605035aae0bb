"""A table made from a teacher as the student of every command: embed, train, evaluate, export, migrate, serve."""

import json
import shutil

import numpy as np
import pytest
from waiting import post

pytest.importorskip("wordllama")
from served_command import served

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.pairs.demo import load_demo
from alignkit.tables.making import make_table
from alignkit.tables.writing import save_table

QUERIES = ["reset my password", "what's the weather in paris?", "zzyzx \U0001f600 unheard of"]


@pytest.fixture(scope="module")
def texts():
    return list(load_demo("static").train.texts[:300])


@pytest.fixture
def folder(texts, tmp_path):
    return make_table(texts, StaticEmbedder(), tmp_path / "cache", tmp_path / "table").folder


def test_from_sentences_to_a_server(run_command, texts, folder, tmp_path):
    (tmp_path / "sentences.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    sides = ("student=table", f"student.path={folder}", "teacher=static")
    assert run_command("embed", "which=both", *sides, "sentences=sentences.txt", "cache_dir=cache")[0] == 0
    data = ("data=cached", "data.path=sentences.txt", "html=false")
    code, out, err = run_command(
        "train", *sides, *data, "trainer.max_epochs=0", "confidence=false", "hydra.run.dir=run"
    )
    assert code == 0, err
    assert "aligned" in out
    table = TableEmbedder(folder)
    aligned = AlignedEmbedder.load(tmp_path / "run", table)
    expected = aligned.encode(QUERIES)

    # the folder may be moved: what it holds is the student
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    student = ("student=table", f"student.path={moved}")
    code, out, err = run_command("evaluate", "head=run", *student, "teacher=static", *data)
    assert code == 0, err

    code, out, err = run_command("export", "head=run", *student, "format=sentence_transformers", "out=exported")
    assert code == 0, err
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "exported"), device="cpu")
    np.testing.assert_allclose(model.encode(QUERIES), expected, atol=1e-5)

    np.save(tmp_path / "old.npy", np.concatenate([batch.vectors for batch in table.embed(texts)]))
    code, out, err = run_command("migrate", "head=run", "vectors=old.npy", "out=new.npy", "role=query")
    assert code == 0, err
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), aligned.encode(texts), atol=2e-3)

    with served([f"head={tmp_path / 'run'}", *student]) as address:
        answer = post(f"{address}/v1/embeddings", json={"input": QUERIES, "model": "alignkit"}).json()
    np.testing.assert_allclose([row["embedding"] for row in answer["data"]], expected, atol=1e-5)

    # another table is another student
    save_table(tmp_path / "other", table.table.tokenizer, table.table.rows[:, ::-1])
    code, out, err = run_command("evaluate", "head=run", "student=table", "student.path=other", "teacher=static", *data)
    assert code == 1 and "digest: expected" in err and "Traceback" not in err
    code, out, err = run_command("export", "head=run", *student, "format=bundle", "out=bundle.zip")
    assert code == 0, err
    identity = AlignedEmbedder.load(tmp_path / "bundle.zip", table).artifact.student_identity
    assert json.loads(json.dumps(identity)) == table.identity()


@pytest.mark.parametrize(
    ("path", "said"),
    [("nowhere", "nowhere: no such folder; expected"), (None, "student.path is not set; expected a folder")],
)
def test_without_a_table_a_command_says_what_to_give(run_command, path, said):
    given = [] if path is None else [f"student.path={path}"]
    code, out, err = run_command("train", "student=table", *given, "data=cached", "data.path=x.txt")
    assert (code, out, err.count("\n")) == (1, "", 1) and said in err
