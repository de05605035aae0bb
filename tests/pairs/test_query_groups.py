"""Queries grouped by a field that stands beside the texts, in every format that `evaluate` reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_embedder import SmallEmbedder
from small_index import DIM, Words, vector_of

from alignkit.cache import VectorCache
from alignkit.errors import ConfigError, DataError
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.base import Origin
from alignkit.pairs.beir_folder import BeirFolder
from alignkit.pairs.cached import load_cached
from alignkit.pairs.demo import load_demo
from alignkit.pairs.evaluation_set import EvaluationSet, Side
from alignkit.pairs.index import load_index
from alignkit.pairs.query_groups import grouped
from alignkit.pairs.searched_corpus import set_of_splits
from alignkit.pairs.sts_file import StsFile
from alignkit.pairs.vectors import load_vectors
from alignkit.sentences.text_fields import CORPUS, QUERIES, FieldRows, TextsIn, fields_of_file, values_of


def rows_of(test):
    return {name: rows.tolist() for name, rows in test.grouping.rows.items()}


def small_set(queries, corpus, fields, qrels=None):
    sides = [Side(np.ones((len(texts), 2)), np.ones((len(texts), 3)), texts) for texts in (queries, corpus)]
    origin = Origin(fields=tuple(fields))
    return EvaluationSet(*sides, itself=np.full(len(queries), -1), qrels=qrels, origin=origin)


def in_memory(side, rows):
    return FieldRows(f"{side} rows", side, TextsIn(), rows)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_values_are_read_from_every_format(tmp_path, suffix):
    rows = [("a", "crm", 2024), ("b", "", 2025), ("c", "n/a", 2024), ("a", "ops", 2024)]
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        lines = [json.dumps(dict(zip(("text", "team", "year"), row, strict=True))) for row in rows]
        path.write_text("\n".join(lines))
    elif suffix == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(
            pyarrow.table({name: [row[at] for row in rows] for at, name in enumerate(("text", "team", "year"))}), path
        )
    else:
        mark = "," if suffix == "csv" else "\t"
        path.write_text("\n".join(mark.join(map(str, row)) for row in [("text", "team", "year"), *rows]))
    fields = fields_of_file(path)
    assert values_of(fields, "team").by_text == {"a": ("crm", "ops")}
    assert values_of(fields, "year").by_text == {"a": ("2024",), "b": ("2025",), "c": ("2024",)}
    assert values_of(fields, "team").known == ("text", "team", "year")


def test_values_may_be_nested_and_several():
    rows = in_memory(
        QUERIES,
        [
            {"text": "a", "metadata": {"team": ["crm", "ops", None]}, "a.b": 1},
            {"text": "b", "metadata": {"team": "crm"}},
            {"text": "c", "metadata": None},
        ],
    )
    assert values_of(rows, "metadata.team").by_text == {"a": ("crm", "ops"), "b": ("crm",)}
    assert values_of(rows, "a.b").by_text == {"a": ("1",)}
    assert values_of(rows, "metadata").nested and not values_of(rows, "metadata").has_field


def test_a_field_of_the_queries_makes_their_groups():
    fields = in_memory(QUERIES, [{"text": "a", "team": "crm"}, {"text": "b", "team": ["crm", "ops"]}, {"text": "c"}])
    test = grouped(small_set(["a", "b", "c"], ["d"], [fields]), "team")
    assert rows_of(test) == {"crm": [0, 1], "ops": [1], "(none)": [2]}
    assert test.groups == ["crm", "crm + ops", "(none)"] and test.grouping.field == "team"
    assert "1 of 3 queries are in several groups" in test.origin.notes[-1]


def test_a_field_of_the_corpus_groups_queries_by_what_is_relevant_to_them():
    qrels = Qrels.of([0, 0, 1, 1], [0, 1, 1, 3], [1, 2, 1, 1], (3, 4))  # row 3 has no vector and is not there
    corpus = [{"text": "d", "team": "ops"}, {"text": "e", "team": "crm"}, {"text": "f", "team": "unused"}]
    fields = [in_memory(QUERIES, [{"text": "a", "lang": "en"}]), in_memory(CORPUS, corpus)]
    test = grouped(small_set(["a", "b", "c"], ["d", "e", "f"], fields, qrels), "team")
    assert rows_of(test) == {"crm": [0, 1], "ops": [0], "(none)": [2]}
    assert "by the team of the texts relevant to them, from corpus rows" in test.origin.notes[-1]


def test_a_side_can_be_named_where_both_have_the_field():
    qrels = Qrels.of([0, 1], [0, 1], [1, 1], (2, 2))
    fields = [
        in_memory(QUERIES, [{"text": "a", "team": "asks"}, {"text": "b", "team": "asks"}]),
        in_memory(CORPUS, [{"text": "c", "team": "answers"}, {"text": "d", "team": "helps"}]),
    ]
    test = small_set(["a", "b"], ["c", "d"], fields, qrels)
    assert rows_of(grouped(test, "team")) == rows_of(grouped(test, "queries.team")) == {"asks": [0, 1]}
    assert rows_of(grouped(test, "corpus.team")) == {"answers": [0], "helps": [1]}


def test_what_cannot_be_grouped_is_said():
    rows = [{"text": "a", "metadata": {"team": "crm"}, "lang": ""}]
    test = small_set(["a", "b"], ["d"], [in_memory(QUERIES, rows)])
    with pytest.raises(ConfigError, match=r"group_by=tem: no text has .*; queries rows: text, metadata.team, lang"):
        grouped(test, "tem")
    with pytest.raises(ConfigError, match="holds fields itself; name one of them: metadata.team"):
        grouped(test, "metadata")
    with pytest.raises(ConfigError, match="no text has a value in such a field"):
        grouped(test, "lang")
    with pytest.raises(DataError, match="none of the 1 queries has a value in queries rows"):
        grouped(small_set(["z"], ["d"], [in_memory(QUERIES, rows)]), "metadata.team")
    with pytest.raises(ConfigError, match="come without fields.*data.sentences=FILE.jsonl.*index.payload=\\[team\\]"):
        grouped(small_set(["a"], ["d"], []), "team")


def test_a_beir_folder_is_grouped_by_either_file(tmp_path):
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": f"d{n}", "title": f"title {n}", "text": f"text {n}", "team": f"t{n % 2}"} for n in range(6)]
    queries = [{"_id": f"q{n}", "text": f"question {n}", "metadata": {"lang": "en"}} for n in range(3)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(3))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    for document in ("title+text", "title", "text"):
        folder = BeirFolder(str(tmp_path), document=document, cache_dir=str(tmp_path / "cache"))
        test = folder.embed(SmallEmbedder(), SmallEmbedder())
        assert rows_of(grouped(test, "team")) == {"t0": [0, 2], "t1": [1]}
    assert rows_of(grouped(test, "metadata.lang")) == {"en": [0, 1, 2]}
    assert "fields" not in test.origin.to_json()


@pytest.fixture(scope="module")
def rows():
    return [{"text": f"sentence number {row}", "team": ("crm", "ops", "plan")[row % 3]} for row in range(60)]


def of_team(rows, test):
    """Whether every query is in its own team's group, and in no other."""
    team_of = {row["text"]: row["team"] for row in rows}
    found = grouped(test, "team").grouping.rows
    return all({team_of[test.queries.texts[at]] for at in own} == {name} for name, own in found.items())


def test_sentences_beside_vectors_and_in_the_cache_are_grouped(tmp_path, rows):
    path, teacher = tmp_path / "own.jsonl", SmallEmbedder("teacher")
    path.write_text("\n".join(map(json.dumps, rows)))
    for name in ("student", "teacher"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(60, 4)))
    sides = [str(tmp_path / f"{name}.npy") for name in ("student", "teacher")]
    assert of_team(rows, set_of_splits(load_vectors(*sides, sentences=str(path), test=0.4)))
    with pytest.raises(ConfigError, match="data.sentences="):
        grouped(set_of_splits(load_vectors(*sides)), "team")
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(teacher, [row["text"] for row in rows], "document")
    splits = load_cached(str(path), SmallEmbedder(), teacher, cache_dir=str(tmp_path / "cache"), test=0.4)
    assert of_team(rows, set_of_splits(splits))


def test_scored_pairs_are_grouped_by_the_fields_of_their_rows(tmp_path):
    pairs = [("a", "b", 1, "news"), ("b", "c", 2, "forum"), ("d", "e", 3, "")]
    lines = ["text1,text2,score,genre", *(",".join(map(str, pair)) for pair in pairs)]
    (tmp_path / "sts.csv").write_text("\n".join(lines))
    test = StsFile(str(tmp_path / "sts.csv"), cache_dir=str(tmp_path / "cache")).embed(SmallEmbedder(), SmallEmbedder())
    names = {name: [test.queries.texts[at] for at in own] for name, own in grouped(test, "genre").grouping.rows.items()}
    assert names == {"news": ["a", "b"], "forum": ["b", "c"], "(none)": ["d", "e"]}


def test_rows_of_an_index_are_grouped_by_their_payload(tmp_path, rows):
    import pyarrow
    import pyarrow.parquet

    from alignkit.indexes.parquet import ParquetIndex

    vectors = pyarrow.array([vector_of(row["text"]).tolist() for row in rows], pyarrow.list_(pyarrow.float32(), DIM))
    columns = {name: [row[name] for row in rows] for name in ("text", "team")}
    pyarrow.parquet.write_table(pyarrow.table({**columns, "vector": vectors}), tmp_path / "docs.parquet")
    models, more = (Words("student", 3), Words("teacher", DIM)), {"cache_dir": str(tmp_path / "cache"), "test": 0.4}
    index = ParquetIndex(str(tmp_path / "docs.parquet"), text="text", payload=["team"])
    test = set_of_splits(load_index(index, *models, **more))
    assert of_team(rows, test)
    assert "by the team of the texts that they are" in grouped(test, "team").origin.notes[-1]
    bare = load_index(ParquetIndex(str(tmp_path / "docs.parquet"), text="text"), *models, **more)
    with pytest.raises(ConfigError, match="index.payload=\\[team\\]"):
        grouped(set_of_splits(bare), "team")


def test_the_demo_pack_is_grouped_by_domain_and_label():
    test = set_of_splits(load_demo("static"))
    assert {len(own) for own in grouped(test, "domain").grouping.rows.values()} == {60}
    assert len(grouped(test, "label").grouping.rows) == 150
