"""More training texts out of the user's own: the teacher's vectors of them, and what it was asked for."""

import dataclasses

import numpy as np
import pytest
from small_embedder import SmallEmbedder

from alignkit.distillation import more_texts
from alignkit.distillation.more_texts import with_more_texts
from alignkit.embedders.base import embed_all
from alignkit.errors import ConfigError, EmbedderError
from alignkit.pairs.base import Origin, Pairs, PairSplits, no_student
from alignkit.pairs.views import JoinedRows

SUBJECTS, VERBS = ("my parcel", "the order", "a refund", "our invoice"), ("is late", "was wrong", "got lost")
TEXTS = [f"{what} {verb} {how}" for what in SUBJECTS for verb in VERBS for how in ("again", "today", "now", "why")]


@pytest.fixture
def teacher():
    return SmallEmbedder("teacher", dim=6)


def splits_of(teacher, **fields):
    vectors = embed_all(teacher, TEXTS)
    teacher.asked.clear()

    def part(start, end):
        ids = [str(row) for row in range(start, end)]
        more = {name: value[start:end] for name, value in fields.items()}
        return Pairs(ids, no_student(end - start), vectors[start:end], TEXTS[start:end], **more)

    origin = Origin(teacher_identity=teacher.identity(), notes=("a note",))
    return PairSplits(part(0, 36), part(36, 42), part(42, 48), origin)


def test_the_training_texts_are_followed_by_made_up_ones(teacher, tmp_path):
    labels = [text.split()[1] for text in TEXTS]
    before = splits_of(teacher, labels=labels, groups=labels, negatives=np.zeros((48, 2), np.int64))
    after, more = with_more_texts(before, teacher, tmp_path, share=1.5, most=1_000)
    train = after.train
    assert len(train) == 36 + 54 and (more.texts, more.calls, more.wanted) == (54, 54, 54)
    assert train.texts[:36] == before.train.texts and set(teacher.asked) == set(train.texts[36:])
    np.testing.assert_allclose(train.teacher, embed_all(teacher, train.texts), atol=2e-3)
    assert (after.validation, after.test) == (before.validation, before.test)
    assert len(set(train.ids)) == 90 and len(set(train.labels[36:])) == 54 and (train.negatives[36:] == -1).all()
    assert after.origin.notes == ("a note", "54 of the training texts were made up out of the others")


def test_a_second_time_nothing_is_asked_and_the_same_is_made(teacher, tmp_path):
    before = splits_of(teacher)
    first, _ = with_more_texts(before, teacher, tmp_path, share=1, most=1_000, seed=4)
    teacher.asked.clear()
    again, more = with_more_texts(before, teacher, tmp_path, share=1, most=1_000, seed=4)
    assert (teacher.asked, more.calls, more.texts) == ([], 0, 36) and again.train.texts == first.train.texts


def test_the_budget_is_kept(teacher, tmp_path):
    after, more = with_more_texts(splits_of(teacher), teacher, tmp_path, share=2, most=10)
    assert (len(teacher.asked), len(after.train), more.texts, more.wanted) == (10, 46, 10, 72)
    before = splits_of(teacher)
    assert with_more_texts(before, teacher, tmp_path, share=2, most=0)[0] is before and teacher.asked == []


def test_nothing_that_is_looked_at_later_is_trained_on(teacher, tmp_path):
    before = splits_of(teacher)
    everything, _ = with_more_texts(before, teacher, tmp_path / "a", share=50, most=10_000)
    parts = everything.train.texts[36:41]
    test = dataclasses.replace(before.test, texts=[*parts[:2], *before.test.texts[2:]])
    held = dataclasses.replace(before.validation, texts=[*parts[2:4], *before.validation.texts[2:]])
    judged = dataclasses.replace(before, test=test, validation=held)
    after, _ = with_more_texts(judged, teacher, tmp_path / "b", share=50, most=10_000, avoid=parts[4:])
    assert len(after.train) > 100 and not set(parts) & set(after.train.texts)


def test_what_the_teacher_cannot_embed_is_left_out(tmp_path):
    class Picky(SmallEmbedder):
        def embed(self, texts, role="document"):
            for batch in super().embed(texts, role):
                bad = {place for place in batch.indices.tolist() if "parcel" in texts[place] and len(texts[place]) < 15}
                kept = [row for row, place in enumerate(batch.indices.tolist()) if place not in bad]
                yield type(batch)(batch.indices[kept], batch.vectors[kept], dict.fromkeys(bad, "NaN"))

    splits = splits_of(SmallEmbedder("teacher", dim=6))
    after, more = with_more_texts(splits, Picky("teacher", dim=6), tmp_path, share=3, most=1_000)
    assert 0 < more.texts < more.wanted and len(after.train) == 36 + more.texts
    assert np.isfinite(after.train.teacher).all()
    with pytest.raises(EmbedderError, match="no server"):
        with_more_texts(splits, SmallEmbedder("off", fault=EmbedderError("no server")), tmp_path, share=1, most=9)


def test_large_vectors_stay_on_disk(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(more_texts, "IN_MEMORY_BYTES", 100)
    train = with_more_texts(splits_of(teacher), teacher, tmp_path, share=1, most=100)[0].train
    assert isinstance(train.teacher, JoinedRows)
    np.testing.assert_allclose(train.teacher[np.arange(72)], embed_all(teacher, train.texts), atol=2e-3)


def test_vectors_of_unknown_origin_must_be_this_teachers(teacher, tmp_path):
    """Vectors of another model beside the user's own would teach the student two languages at once."""

    class Other(SmallEmbedder):
        def _vector(self, text):
            return super()._vector(text[::-1])

    known = splits_of(teacher)
    unknown = dataclasses.replace(known, origin=Origin())
    after, more = with_more_texts(unknown, teacher, tmp_path, share=1, most=100)
    assert len(after.train) == 72 and more.texts == 36
    with pytest.raises(
        ConfigError, match="teacher=other gives the training texts vectors with a cosine of .* to these"
    ):
        with_more_texts(unknown, Other("other", dim=6), tmp_path, share=1, most=100)
    with pytest.raises(ConfigError, match="teacher=wide gives the training texts 9 numbers a vector instead of 6"):
        with_more_texts(unknown, SmallEmbedder("wide", dim=9), tmp_path, share=1, most=100)
