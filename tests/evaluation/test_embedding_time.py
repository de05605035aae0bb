"""Times of models: of those that made the vectors, with where each ran; a fault of one ends nothing."""

from __future__ import annotations

import dataclasses

import pytest
from fake_server import FakeServer
from small_embedder import SmallEmbedder

from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.errors import EmbedderError
from alignkit.evaluation.embedding_time import EMBED_RUNS, embedding_times


@pytest.fixture
def test_set(make_retrieval):
    made = make_retrieval()
    identities = {f"{name}_identity": {"backend": "small", "model": name} for name in ("student", "teacher")}
    return dataclasses.replace(made, origin=dataclasses.replace(made.origin, **identities))


def test_each_model_is_timed_where_it_ran(test_set):
    student = SmallEmbedder("student", device="cuda:0")
    teacher = SmallEmbedder("teacher", base_url="http://10.0.0.5:11434")
    times = embedding_times(test_set, {"student": student, "teacher": teacher}, {})
    assert all(one.ms > 0 for one in times.values())
    assert times["student"].said == "this machine, cuda:0"
    assert times["teacher"].said == "the server at http://10.0.0.5:11434"
    assert len(teacher.asked) == EMBED_RUNS + 1


def test_a_server_that_lists_its_model_and_cannot_embed_ends_nothing(test_set):
    broken = SmallEmbedder("teacher", fault=EmbedderError("the server answered 501"))
    times = embedding_times(test_set, {"student": SmallEmbedder("student"), "teacher": broken}, {})
    assert times["student"].ms > 0 and times["student"].said == "this machine, CPU"
    assert times["teacher"].ms is None and times["teacher"].said == "not timed: the server answered 501"


def test_ollama_that_refuses_a_chat_model_is_timed_by_nobody(test_set):
    def refuse(handler, texts):
        handler.send_json(501, {"error": "this model does not support embeddings"})

    with FakeServer(dim=24) as server:
        ollama = OllamaEmbedder("tiny", server.url, retries=0)
        origin = dataclasses.replace(test_set.origin, teacher_identity=ollama.identity("query"))
        made = dataclasses.replace(test_set, origin=origin)
        assert embedding_times(made, {"teacher": ollama}, {})["teacher"].said == f"the server at {server.url}"
        server.always = refuse
        times = embedding_times(made, {"teacher": ollama}, {})
        ollama.close()
    assert times["teacher"].ms is None and "gives no vectors for chat models" in times["teacher"].said


def test_what_shall_not_be_timed_is_not_called(test_set):
    teacher = SmallEmbedder("teacher")
    times = embedding_times(test_set, {"teacher": teacher}, {"teacher": "time_embedding=false"})
    assert times["teacher"].said == "not timed: time_embedding=false" and teacher.asked == []
    assert times["student"].said == "not timed: it was not loaded"


def test_another_model_and_an_unknown_one_are_told_apart(test_set):
    other = SmallEmbedder("other")
    assert "is not the model that made" in embedding_times(test_set, {"teacher": other}, {})["teacher"].said
    unknown = dataclasses.replace(test_set, origin=dataclasses.replace(test_set.origin, teacher_identity=None))
    assert (
        embedding_times(unknown, {"teacher": other}, {})["teacher"].said
        == "not timed: which model made the teacher vectors is not known"
    )
    assert other.asked == []


def test_a_server_that_tells_nothing_is_still_timed(test_set, monkeypatch):
    teacher = SmallEmbedder("teacher")

    def refuse():
        raise EmbedderError("404")

    monkeypatch.setattr(teacher, "provenance", refuse)
    times = embedding_times(test_set, {"teacher": teacher}, {})
    assert times["teacher"].ms > 0 and "does not say what it is" in times["teacher"].said
