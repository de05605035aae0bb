"""`check index=…` on indexes where they live, as a user runs it; no server of a model is there."""

import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignkit.checking.index_findings import check_engine, check_index
from alignkit.embedders.base import EmbeddedBatch
from alignkit.indexes.parquet import ParquetIndex
from alignkit.pairs.demo import load_demo

ROWS = 1200


@pytest.fixture(scope="module")
def swapped():
    """Texts; vectors of two models of one width, the other one's from row 700 on."""
    train = load_demo("two_layer", validation=0.1, seed=0).train
    rows = np.random.default_rng(0).permutation(len(train.texts))[:ROWS]
    return [train.texts[row] for row in rows], np.float32(np.r_[train.teacher[rows[:700]], train.student[rows[700:]]])


@pytest.fixture
def look(run_command):
    def call(*words):
        code, out, err = run_command("check", "format=json", *words)
        assert out, err
        return code, {finding["topic"]: finding for finding in json.loads(out)}

    return call


def stored(path, vectors, texts):
    column = pa.array(vectors, pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": [f"d{row}" for row in range(len(texts))], "body": texts, "embedding": column}), path)


class TableEmbedder:
    """The other of the two models, as a table."""

    dim = 384

    def __init__(self, vectors):
        self.vectors = vectors

    def embed(self, texts, role="document"):
        yield EmbeddedBatch(np.arange(len(texts)), np.stack([self.vectors[text] for text in texts]))


def test_the_teacher_says_which_rows_it_did_not_make(tmp_path, swapped):
    texts, vectors = swapped
    stored(tmp_path / "docs.parquet", list(vectors), texts)
    made = dict(zip(texts, vectors, strict=True)) | {text: vectors[0] for text in texts[700:]}
    with ParquetIndex(str(tmp_path / "docs.parquet"), id="id", text="body") as index:
        *_, finding = check_engine(index, TableEmbedder(made))
    assert (finding.topic, finding.status) == ("index rows", "failure")
    assert "rows that differ: d7" in finding.message and "more" in finding.message


def test_rows_that_cannot_be_used_are_counted_and_named(run_command, tmp_path, swapped):
    texts, vectors = swapped
    rows = [row * (1 if at < 100 else 3) for at, row in enumerate(vectors[:200])]
    rows[3], rows[5], rows[9] = None, rows[5] * 0, rows[9] * np.nan
    stored(tmp_path / "docs.parquet", rows, texts[:200])
    code, out, _ = run_command("check", "index=parquet", "index.path=docs.parquet", "index.id=id")
    assert code == 0
    assert "197 of 200 rows can be used; 1: it has no vector, the first is row d3" in out
    assert "97 vectors have length 1, the first is row d0; 100 have another" in out
    assert "the first is row d100" in out


def test_a_swap_in_a_file_of_vectors_is_named(look, tmp_path, swapped):
    texts, vectors = swapped
    np.save(tmp_path / "docs.npy", vectors)
    (tmp_path / "docs.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    code, found = look("index=docs.npy", "sentences=docs.txt")
    assert code == 1
    assert "the rows from 700 on (42%)" in found["index one model"]["message"]


@pytest.mark.parametrize("named", [(), ("student=two_layer",)])
def test_beside_a_file_of_vectors_only_named_models_are_asked(look, tmp_path, swapped, named):
    """As beside an engine: the default models are on a server that nobody spoke of."""
    np.save(tmp_path / "docs.npy", swapped[1][:200])
    (tmp_path / "docs.txt").write_text("\n".join(swapped[0][:200]) + "\n", encoding="utf-8")
    code, found = look("index=docs.npy", "sentences=docs.txt", *named)
    assert code == 0 and found["index vectors"]["status"] == "ok"
    asked = {topic.split()[0] for topic in found} & {"student", "teacher"}
    assert asked == ({"student"} if named else set())


def test_an_engine_that_does_not_open_is_one_finding(look):
    code, found = look("index=parquet", "index.path=none.parquet")
    assert code == 1
    assert found["index"]["message"] == "none.parquet: no such file"


def test_a_value_that_is_neither_a_file_nor_an_engine(look):
    code, found = look("index=pgvectr")
    assert code == 1
    assert "give a file, or one of chroma, faiss, lancedb" in found["index"]["fix"]


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    """Of the sentences only those are kept whose rows are in the sample."""
    monkeypatch.setattr("alignkit.checking.index_reading._VALUES_AT_ONCE", 8_000)
    monkeypatch.setattr("alignkit.checking.index_reading.SAMPLED_ROWS", 300)
    peaks = []
    for rows in (2_000, 22_000):
        np.save(tmp_path / "docs.npy", np.random.default_rng(0).standard_normal((rows, 8)).astype(np.float16))
        lines = (f"sentence {row} " + "that is long " * 20 for row in range(rows))
        (tmp_path / "docs.txt").write_text("\n".join(lines), encoding="utf-8")
        tracemalloc.start()
        found = list(check_index(tmp_path / "docs.npy", tmp_path / "docs.txt", None))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert f"{rows:,} rows, 8-d float16" in found[0].message and found[-1].status == "ok"
    assert (peaks[1] - peaks[0]) / 20_000 < 20
