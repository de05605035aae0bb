"""BEIR folders: what is read, what is left out and counted, what is refused."""

from __future__ import annotations

import json

import pytest

from alignkit.errors import ConfigError, DataError
from alignkit.pairs.judged_texts import judged_texts


@pytest.fixture
def folder(tmp_path):
    def write(corpus, queries, qrels, split="test"):
        (tmp_path / "qrels").mkdir(exist_ok=True)
        for name, rows in (("corpus", corpus), ("queries", queries)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
        (tmp_path / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    return write


CORPUS = [{"_id": "d1", "title": "Reset", "text": "Press the button."}, {"_id": "d2", "text": "Call us."}]
QUERIES = [{"_id": "q1", "text": "how to reset"}, {"_id": "q2", "text": "phone number"}]


def test_titles_stand_before_their_texts_and_grades_are_kept(folder):
    texts = judged_texts(folder(CORPUS, QUERIES, [("q1", "d1", 2), ("q2", "d2", 1), ("q2", "d1", 0)]))
    assert dict(texts.corpus) == {"d1": "Reset Press the button.", "d2": "Call us."}
    assert texts.judgements == [("q1", "d1", 2), ("q2", "d2", 1), ("q2", "d1", 0)]
    assert texts.notes == [] and texts.itself == {}


@pytest.mark.parametrize(("document", "first"), [("title", "Reset"), ("text", "Press the button.")])
def test_titles_or_texts_alone(folder, document, first):
    path = folder(CORPUS, QUERIES, [("q1", "d1", 1)])
    assert dict(judged_texts(path, document=document).corpus) == {"d1": first, "d2": "Call us."}
    with pytest.raises(ConfigError, match="expected one of title"):
        judged_texts(path, document="answers")


def test_unknown_ids_are_left_out_counted_and_named(folder):
    qrels = [("q1", "d1", 1), ("q9", "d1", 1), ("q1", "d7", 1), ("q1", "d8", 1), ("q8", "d1", 1)]
    texts = judged_texts(folder(CORPUS, QUERIES, qrels))
    assert texts.notes[0] == (
        "the judgements name 4 ids that are neither queries nor texts; they are left out, the first: q9, d7, d8"
    )


def test_queries_without_a_relevant_text_are_left_out_and_counted(folder):
    texts = judged_texts(folder(CORPUS, QUERIES, [("q1", "d1", 1), ("q2", "d1", 0)]))
    assert list(texts.queries) == ["q1"]
    assert texts.notes == ["1 of 2 queries have no relevant text in test.tsv and are left out"]
    assert texts.judgements == [("q1", "d1", 1)]


def test_a_query_of_the_corpus_is_itself_only_where_the_text_agrees(folder):
    corpus = [*CORPUS, {"_id": "q1", "text": "How to reset?"}, {"_id": "q2", "text": "something else"}]
    texts = judged_texts(folder(corpus, QUERIES, [("q1", "d1", 1), ("q2", "d2", 1)]))
    assert texts.itself == {"q1": "q1"}


@pytest.mark.parametrize(
    ("corpus", "qrels", "said"),
    [
        ([], [("q1", "d1", 1)], "holds no texts"),
        (CORPUS, [("q1", "d9", 1)], "no query has a relevant text"),
        (CORPUS, [("q1", "d1", "high")], r"test.tsv, line 2: score must be an integer, got 'high'"),
        ([*CORPUS, CORPUS[0]], [("q1", "d1", 1)], r"corpus.jsonl, line 3: _id 'd1' appears twice"),
    ],
)
def test_what_cannot_be_used_is_refused(folder, corpus, qrels, said):
    with pytest.raises(DataError, match=said):
        judged_texts(folder(corpus, QUERIES, qrels))


def test_a_missing_folder_or_split_names_what_is_there(folder, tmp_path):
    with pytest.raises(DataError, match="there is no folder .* expected one that holds corpus.jsonl"):
        judged_texts(tmp_path / "nowhere")
    path = folder(CORPUS, QUERIES, [("q1", "d1", 1)], split="dev")
    with pytest.raises(DataError, match=r"has no test.tsv; found: dev"):
        judged_texts(path)


@pytest.mark.parametrize(
    ("name", "counts"), [("ir_adi", (82, 35)), ("stackfaq", (125, 1249)), ("ir_cranfield", (1400, 225))]
)
def test_reads_the_classical_sets(shared_data, name, counts):
    texts = judged_texts(shared_data / name)
    assert (len(texts.corpus), len(texts.queries)) == counts
    assert texts.itself == {}  # queries and texts are both counted from 1 in some of them


def test_a_query_that_is_judged_relevant_to_itself_may_find_itself(folder):
    corpus = [{"_id": "q1", "text": "how to reset"}, {"_id": "q2", "text": "phone number"}, *CORPUS]
    texts = judged_texts(folder(corpus, QUERIES, [("q1", "q1", 1), ("q1", "d1", 1), ("q2", "d2", 1), ("q2", "q2", 0)]))
    assert texts.itself == {"q2": "q2"}  # judged, and not relevant: it would only push the others down
    assert "1 queries are texts of the corpus; each is left out of its own hits" in texts.notes
    assert "1 queries are texts of the corpus and judged relevant to themselves; each may find itself" in texts.notes
