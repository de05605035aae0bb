"""Sets of text: what cannot be embedded is left out and counted, and is missed where it is relevant."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_embedder import SmallEmbedder

from alignkit.artifact import Artifact
from alignkit.cache.stored import StoredVectors
from alignkit.errors import EmbedderError
from alignkit.evaluation.comparison import compare
from alignkit.heads.linear import LinearHead
from alignkit.pairs.beir_folder import BeirFolder
from alignkit.pairs.sts_file import StsFile
from alignkit.pairs.unit_rows import UnitRows


@pytest.fixture
def models():
    return SmallEmbedder("student", 6), SmallEmbedder("teacher", 8)


def write_beir(folder, corpus, queries, qrels):
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore", *(f"{query}\t{text}\t1" for query, text in qrels)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_an_empty_document_is_left_out_and_counts_as_not_found(tmp_path, models):
    write_beir(
        tmp_path / "faq",
        {"d1": "press the button", "d2": " \u200b", "d3": "call us"},
        {"q1": "how to reset", "q2": "phone number", "q3": " "},
        [("q1", "d1"), ("q1", "d2"), ("q2", "d3"), ("q3", "d1")],
    )
    found = BeirFolder(str(tmp_path / "faq"), cache_dir=str(tmp_path / "cache")).embed(*models)
    assert found.corpus.texts == ["press the button", "call us"]
    assert found.queries.texts == ["how to reset", "phone number"]
    assert found.corpus.teacher.shape == (2, 8) and found.corpus.student.shape == (2, 6)
    notes = "\n".join(found.origin.notes)
    assert "1 of 3 texts of the corpus cannot be embedded and are left out; where one is relevant" in notes
    assert "d2: the text is empty or blank" in notes and "1 of 3 queries cannot be embedded" in notes
    # q1 finds both texts there are, in the right places: half of what is relevant to it is still missed
    judged = found.judge(np.array([[0, 1], [1, 0]]))
    assert judged.gains.tolist() == [[1, 0], [1, 0]]
    assert judged.relevant.tolist() == [2, 1]


def test_a_text_that_only_the_teacher_refuses_is_left_out_on_both_sides(tmp_path, models):
    student, teacher = models
    write_beir(tmp_path / "faq", {"d1": "one", "d2": "two"}, {"q1": "ask"}, [("q1", "d1")])
    whole = teacher.embed

    def refusing(texts, role="document"):
        for batch in whole([text for text in texts if text != "two"], role):
            yield type(batch)(batch.indices, batch.vectors, {texts.index("two"): "too long"} if "two" in texts else {})

    teacher.embed = refusing
    found = BeirFolder(str(tmp_path / "faq"), cache_dir=str(tmp_path / "cache")).embed(student, teacher)
    assert found.corpus.texts == ["one"] and found.corpus.student.shape == (1, 6)
    assert "d2: too long" in found.origin.notes[-1]


def test_nothing_but_blank_texts_is_refused(tmp_path, models):
    write_beir(tmp_path / "faq", {"d1": " "}, {"q1": "ask"}, [("q1", "d1")])
    with pytest.raises(EmbedderError, match="no text has a vector by the student; the first: the text is empty"):
        BeirFolder(str(tmp_path / "faq"), cache_dir=str(tmp_path / "cache")).embed(*models)


def test_pairs_with_an_empty_sentence_are_left_out(tmp_path, models):
    rows = [("a dog", "a cat", 1.0), ("a dog", " ", 2.0), ("rain", "sun", 3.0)]
    lines = [json.dumps({"sentence1": one, "sentence2": other, "score": score}) for one, other, score in rows]
    (tmp_path / "sts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = StsFile(str(tmp_path / "sts.jsonl"), cache_dir=str(tmp_path / "cache")).embed(*models)
    assert found.queries.texts == ["a dog", "a cat", "rain", "sun"]
    assert found.human.scores.tolist() == [1.0, 3.0] and found.human.first.tolist() == [0, 2]
    assert (
        "1 of 5 sentences cannot be embedded and are left out, and with them 1 of the pairs" in found.origin.notes[-1]
    )


def test_vectors_of_a_large_corpus_stay_in_the_cache(tmp_path, models, monkeypatch):
    corpus = {f"d{row}": f"document {row % 40}" for row in range(60)} | {"blank": " "}
    write_beir(tmp_path / "faq", corpus, {"q1": "document 7, please"}, [("q1", "d7")])
    small = BeirFolder(str(tmp_path / "faq"), cache_dir=str(tmp_path / "cache")).embed(*models)
    for limit in ("alignkit.pairs.cached_sides.IN_MEMORY_BYTES", "alignkit.pairs.unit_rows.HELD_BYTES"):
        monkeypatch.setattr(limit, 0)
    large = BeirFolder(str(tmp_path / "faq"), cache_dir=str(tmp_path / "cache")).embed(*models)
    assert isinstance(large.corpus.student, StoredVectors) and isinstance(large.corpus.teacher, UnitRows)
    for side in ("student", "teacher"):
        assert np.array_equal(getattr(large.corpus, side)[:], getattr(small.corpus, side))
    assert large.corpus.texts == small.corpus.texts and len(large.corpus) == 60
    head = LinearHead(6, 8)
    figures = [compare(one, Artifact({"query_head": head}), resamples=20).rows for one in (small, large)]
    assert figures[0] == figures[1]
