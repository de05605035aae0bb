from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.embedders.base import EmbeddedBatch, Session
from alignkit.errors import CacheError, ConfigError, DataError, EmbedderError
from alignkit.pairs import cached_sides
from alignkit.pairs.base import Cut, MissingVectorsError
from alignkit.pairs.cached import load_cached
from alignkit.reporting.training_words import cut_words


class LengthEmbedder:
    """Vectors that tell the text: `(number in the text, width, 1, ...)`."""

    def __init__(self, model, dim):
        self.model, self.dim = model, dim
        self.is_up = True
        self.is_closed = False
        self.asked = []

    def settings(self, role="document"):
        return {"model": self.model, "prompt": role}

    def identity(self, role="document"):
        if not self.is_up:
            raise EmbedderError("nothing answers")
        return {**self.settings(role), "digest": "d"}

    def provenance(self):
        return {}

    def embed(self, texts, role="document"):
        self.asked += texts
        failures = {place: "NaN" for place, text in enumerate(texts) if f"not for {self.model}" in text}
        good = [place for place in range(len(texts)) if place not in failures]
        rows = [[number_of(texts[place]), self.dim, *[1] * (self.dim - 2)] for place in good]
        yield EmbeddedBatch(np.array(good), np.array(rows, dtype=np.float32).reshape(-1, self.dim), failures)

    def close(self):
        self.is_closed = True


def number_of(text):
    last = text.split()[-1]
    return int(last) if last.isdecimal() else 0  # a plain sentence, with which the cache tries a model


@pytest.fixture
def student():
    return LengthEmbedder("student", 4)


@pytest.fixture
def teacher():
    return LengthEmbedder("teacher", 6)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(f"Sentence number {number}" for number in range(200)), encoding="utf-8")
    return path


@pytest.fixture
def where(path, tmp_path):
    return {"path": str(path), "cache_dir": str(tmp_path / "cache")}


def fill(where, *embedders, role="document"):
    texts = Path(where["path"]).read_text(encoding="utf-8").splitlines()
    with VectorCache(where["cache_dir"]) as cache:
        for embedder in embedders:
            cache.fill(embedder, texts, role)
            embedder.asked.clear()


def all_pairs(splits):
    return [splits.train, splits.validation, splits.test]


def test_rows_belong_together_and_the_teacher_is_never_called(where, student, teacher):
    fill(where, teacher)
    teacher.is_up = False
    splits = load_cached(student=student, teacher=teacher, **where)
    assert teacher.asked == []
    assert len(student.asked) == 200
    assert [len(pairs) for pairs in all_pairs(splits)] == [160, 20, 20]
    for pairs in all_pairs(splits):
        numbers = [number_of(text) for text in pairs.texts]
        assert pairs.student[:, 0].tolist() == pairs.teacher[:, 0].tolist() == numbers
        assert pairs.ids == [f"sentences-{number}" for number in numbers]
        assert (pairs.student_dim, pairs.teacher_dim) == (4, 6)
    assert splits.origin.student_identity == {"model": "student", "prompt": "document", "digest": "d"}
    assert splits.origin.teacher_identity["model"] == "teacher"
    assert splits.origin.real is None  # a file does not say who wrote it
    assert student.is_closed and teacher.is_closed


def test_with_every_server_off_when_all_is_cached(where, student, teacher):
    fill(where, student, teacher)
    student.is_up = teacher.is_up = False
    for live in (True, False):
        assert len(load_cached(student=student, teacher=teacher, student_live=live, **where).train) == 160
    assert student.asked == teacher.asked == []


def test_missing_teacher_vectors_are_counted(where, path, student, teacher):
    fill(where, teacher)
    with path.open("a", encoding="utf-8") as file:
        file.write("\nNew number 1\nNew number 2\n")
    with pytest.raises(MissingVectorsError) as caught:
        load_cached(student=student, teacher=teacher, **where)
    assert str(caught.value) == f"2 of 202 sentences have no teacher vector in {where['cache_dir']}"
    assert (caught.value.side, caught.value.refused) == ("teacher", False)
    assert student.asked == []


def test_an_empty_cache_lacks_all(where, student, teacher):
    with pytest.raises(CacheError, match=r"^200 of 200 sentences have no teacher vector"):
        load_cached(student=student, teacher=teacher, **where)


def test_student_vectors_from_the_cache_only(where, student, teacher):
    fill(where, teacher)
    with pytest.raises(CacheError, match="200 of 200 sentences have no student vector"):
        load_cached(student=student, teacher=teacher, student_live=False, **where)
    assert student.asked == []


def test_a_live_student_whose_server_is_off_is_the_servers_error(where, student, teacher):
    fill(where, teacher)
    student.is_up = False
    with pytest.raises(EmbedderError, match="nothing answers"):
        load_cached(student=student, teacher=teacher, **where)
    assert student.is_closed


def test_quarantined_texts_are_left_out_and_counted(where, path, student, teacher):
    with path.open("a", encoding="utf-8") as file:
        file.write("\nnot for teacher 1\nnot for teacher 2\nnot for student 3\n")
    fill(where, teacher)
    splits = load_cached(student=student, teacher=teacher, **where)
    assert splits.origin.quarantined == {"teacher": 2, "student": 1}
    assert sum(len(pairs) for pairs in all_pairs(splits)) == 200
    assert not [text for pairs in all_pairs(splits) for text in pairs.texts if "not for" in text]


def test_what_left_them_out_is_said(where, path, student, teacher, caplog):
    path.write_text(path.read_text(encoding="utf-8") + "\nnot for teacher 7", encoding="utf-8")
    fill(where, teacher)
    load_cached(**where, student=student, teacher=teacher)
    assert "1 sentences are left out: the teacher gave no vector for them (NaN)" in caplog.text


def test_where_every_sentence_is_quarantined_the_advice_is_to_try_again(where, path, student, teacher):
    path.write_text("\n".join(f"not for teacher {number}" for number in range(40)), encoding="utf-8")
    with VectorCache(where["cache_dir"]) as cache:  # as servers that were broken have left caches
        cache.fill(teacher, ["Sentence 1"])
        fill(where, teacher)
    with pytest.raises(MissingVectorsError, match=r"no vector for any of 40 sentences .*NaN") as caught:
        load_cached(**where, student=student, teacher=teacher)
    assert caught.value.refused


def test_equal_texts_are_one_and_nearly_equal_ones_stay_together(where, path, student, teacher):
    texts = [f"Sentence number {number % 100}" for number in range(200)]
    texts += [f"sentence, number {number}" for number in range(100)]
    path.write_text("\n".join(texts), encoding="utf-8")
    fill(where, teacher)
    splits = load_cached(student=student, teacher=teacher, **where)
    assert splits.origin.repetitions == 100
    sides = [{number_of(text) for text in pairs.texts} for pairs in all_pairs(splits)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sum(len(pairs) for pairs in all_pairs(splits)) == 200


def test_the_split_follows_the_seed(where, student, teacher):
    fill(where, teacher)
    runs = [load_cached(student=student, teacher=teacher, seed=seed, **where).test.ids for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_labels_come_along(where, path, tmp_path, student, teacher):
    fill(where, teacher)
    table = tmp_path / "labelled.tsv"
    rows = "".join(f"{text}\tlabel {number_of(text) % 3}\n" for text in path.read_text(encoding="utf-8").splitlines())
    table.write_text("text\tlabel\n" + rows, encoding="utf-8")
    splits = load_cached(student=student, teacher=teacher, path=str(table), cache_dir=where["cache_dir"])
    assert splits.train.labels == [f"label {number_of(text) % 3}" for text in splits.train.texts]


@pytest.mark.parametrize("missing", ["", "nan", "NULL", "None"])
def test_sentences_without_a_label_are_relevant_to_none(where, path, tmp_path, student, teacher, missing):
    fill(where, teacher)
    table = tmp_path / "labelled.tsv"
    texts = path.read_text(encoding="utf-8").splitlines()
    rows = "".join(f"{text}\t{'pay' if number_of(text) % 3 else missing}\n" for text in texts)
    table.write_text("text\tlabel\n" + rows, encoding="utf-8")
    train = load_cached(str(table), student, teacher, where["cache_dir"]).train
    without = [label for label, group in zip(train.labels, train.groups, strict=True) if group == "(none)"]
    assert len(set(without)) == len(without) > 3 and set(train.groups) == {"pay", "(none)"}
    table.write_text("text\tlabel\n" + "".join(f"{text}\t{missing}\n" for text in texts), encoding="utf-8")
    assert load_cached(str(table), student, teacher, where["cache_dir"]).train.labels is None


def test_large_splits_stay_on_disk(where, student, teacher, monkeypatch):
    monkeypatch.setattr(cached_sides, "IN_MEMORY_BYTES", 0)
    fill(where, teacher)
    train = load_cached(student=student, teacher=teacher, **where).train
    assert not isinstance(train.teacher, np.ndarray)
    assert train.teacher_dim == 6
    assert train.teacher[np.arange(5)][:, 0].tolist() == [number_of(text) for text in train.texts[:5]]


def test_query_prompts_are_another_set_of_vectors(where, student, teacher):
    fill(where, teacher, role="query")
    with pytest.raises(CacheError, match="no teacher vector"):
        load_cached(student=student, teacher=teacher, **where)
    splits = load_cached(student=student, teacher=teacher, role="query", **where)
    assert splits.origin.student_identity["prompt"] == "query"
    with pytest.raises(ConfigError, match="data.role=both"):
        load_cached(student=student, teacher=teacher, role="both", **where)


def test_too_few_sentences(where, path, student, teacher):
    path.write_text("one 1\ntwo 2\n", encoding="utf-8")
    fill(where, teacher)
    with pytest.raises(DataError, match="2 sentences with both vectors, expected at least 20"):
        load_cached(student=student, teacher=teacher, **where)


class Cutting(LengthEmbedder):
    """Reads seven tokens; sentences from number 190 on are longer."""

    context = 7

    def embed(self, texts, role="document"):
        for batch in super().embed(texts, role):
            long = frozenset(place for place in batch.indices.tolist() if number_of(texts[place]) >= 190)
            yield replace(batch, cut=long)


def test_what_was_cut_is_counted_and_told_in_the_report(where, student):
    teacher = Cutting("teacher", 6)
    fill(where, teacher)
    splits = load_cached(student=student, teacher=teacher, **where)
    assert splits.origin.cut == {"student": Cut(0, None), "teacher": Cut(10, 7)}
    assert splits.origin.to_json()["cut"]["teacher"] == {"sentences": 10, "context": 7}
    assert cut_words(splits.origin, "student") == ""
    longer = "10 of the sentences are longer than a context of 7 tokens: their vectors cover only their beginnings"
    assert cut_words(splits.origin, "teacher") == f"; {longer}"


class Renamed(LengthEmbedder):
    """Behind a server, which knows that the two names are one model."""

    session = Session(0, sure=True)

    def identity(self, role="document"):
        return {**self.settings(role), "digest": "d", "weights": "w", "parameters": {}}


def test_a_teacher_that_is_stored_under_another_name_is_found_by_its_weights(where, student):
    fill(where, Renamed("teacher", 6))
    asked = Renamed("teacher-embed", 6)
    splits = load_cached(student=student, teacher=asked, **where)
    assert asked.asked == []
    assert len(splits.train) == 160
