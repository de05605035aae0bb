"""The teacher's side alone, and what a student makes of its texts."""

import errno

import numpy as np
import pytest
from small_embedder import SmallEmbedder

from alignkit.cache import VectorCache
from alignkit.embedders.base import EmbeddedBatch, embed_all
from alignkit.errors import AlignkitError, ConfigError, DataError
from alignkit.pairs import embedded
from alignkit.pairs.base import Cut, MissingVectorsError
from alignkit.pairs.built import load_built
from alignkit.pairs.cached import load_cached
from alignkit.pairs.demo import load_demo
from alignkit.pairs.embedded import with_student
from alignkit.pairs.vectors import load_vectors
from alignkit.sentences.dataset_folder import new_folder
from alignkit.sentences.dataset_writing import write_dataset
from alignkit.sentences.grammar import generate
from alignkit.sentences.seeds import read_seeds

TEXTS = [f"Sentence number {number}" for number in range(200)]


class Refusing(SmallEmbedder):
    """Has no vector for some texts, answers last things first, and cuts long ones."""

    def embed(self, texts, role="document"):
        self.asked += texts
        good = [place for place, text in enumerate(texts) if not text.endswith("7")][::-1]
        vectors = np.array([self._vector(texts[place]) for place in good], dtype=np.float32).reshape(-1, self.dim)
        failures = {place: "a seven" for place in range(len(texts)) if place not in good}
        cut = frozenset(place for place in good if texts[place].endswith("1"))
        yield EmbeddedBatch(np.array(good, dtype=np.int64), vectors, failures, cut)


@pytest.fixture
def cached(tmp_path):
    """Loads the teacher's side of 200 sentences."""
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")

    def load(fill=True):
        teacher = SmallEmbedder("teacher", 6)
        if fill:
            with VectorCache(tmp_path / "cache") as cache:
                cache.fill(teacher, TEXTS)
        teacher.asked.clear()
        splits = load_cached(str(path), None, teacher, str(tmp_path / "cache"))
        assert teacher.asked == []
        return splits

    return load


def check_teachers_side(splits):
    for part in splits.parts:
        assert part.student.shape == (len(part), 0) and len(part.texts) == len(part) > 0
    assert splits.origin.student_identity is None and "student" not in (splits.origin.quarantined or {})


def test_the_teachers_side_of_sentences_comes_from_the_cache(cached):
    splits = cached()
    check_teachers_side(splits)
    assert sorted(text for part in splits.parts for text in part.texts) == sorted(TEXTS)
    expected = embed_all(SmallEmbedder("teacher", 6), splits.test.texts)
    assert np.allclose(splits.test.teacher, expected, atol=2e-3)
    assert splits.origin.teacher_identity == {"backend": "small", "model": "teacher"}


def test_missing_teacher_vectors_are_counted(cached):
    with pytest.raises(MissingVectorsError, match="200 of 200 sentences have no teacher vector") as raised:
        cached(fill=False)
    assert raised.value.side == "teacher"


def test_the_teachers_side_of_a_built_set_keeps_its_hard_negatives(tmp_path):
    with new_folder(tmp_path / "set") as part:
        write_dataset(part, generate([read_seeds("en")], 60, 0), [], seed=0)
    teacher = SmallEmbedder("teacher", 6)
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(teacher, (tmp_path / "set" / "sentences.txt").read_text(encoding="utf-8").splitlines())
    splits = load_built(str(tmp_path / "set"), None, teacher, str(tmp_path / "cache"))
    check_teachers_side(splits)
    assert splits.train.negatives is not None
    embedded_splits = with_student(splits, Refusing("student", 4))
    assert embedded_splits.train.student_dim == 4 and embedded_splits.train.negatives.max() < len(embedded_splits.train)


def test_the_demo_pack_has_a_teachers_side():
    splits = load_demo(None)
    check_teachers_side(splits)
    assert [len(part) for part in splits.parts] == [2700, 300, 600]


def test_own_vectors_with_their_sentences_have_one_too(tmp_path):
    vectors = embed_all(SmallEmbedder("teacher", 6), TEXTS)
    np.save(tmp_path / "teacher.npy", vectors)
    (tmp_path / "x.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    splits = load_vectors(None, str(tmp_path / "teacher.npy"), sentences=str(tmp_path / "x.txt"))
    check_teachers_side(splits)
    for part in splits.parts:
        rows = [TEXTS.index(text) for text in part.texts]
        assert np.array_equal(np.asarray(part.teacher), vectors[rows])


def test_own_vectors_without_sentences_have_none(tmp_path):
    np.save(tmp_path / "teacher.npy", np.ones((30, 4)))
    with pytest.raises(ConfigError, match="data.sentences is not set: a student is trained on texts"):
        load_vectors(None, str(tmp_path / "teacher.npy"))
    with pytest.raises(ConfigError, match="data.test_teacher hold vectors without texts"):
        load_vectors(None, str(tmp_path / "teacher.npy"), "a.npy", "b.npy", sentences="x.txt")


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_student_embeds_all_three_splits(cached, monkeypatch, on_disk):
    monkeypatch.setattr(embedded, "TEXTS_AT_ONCE", 64)
    if on_disk:
        monkeypatch.setattr(embedded, "IN_MEMORY_BYTES", 16)
    student = SmallEmbedder("student", 4)
    splits = with_student(cached(), student)
    assert sorted(student.asked) == sorted(TEXTS)
    for part in splits.parts:
        assert isinstance(part.student, np.memmap) == on_disk
        assert np.array_equal(part.student, embed_all(student, part.texts))
        assert np.allclose(part.teacher, embed_all(SmallEmbedder("teacher", 6), part.texts), atol=2e-3)
    assert splits.origin.student_identity == {"backend": "small", "model": "student"}
    assert splits.origin.quarantined == {"teacher": 0, "student": 0}


def test_another_student_takes_the_place_of_the_first(cached):
    first = with_student(cached(), SmallEmbedder("student", 4))
    second = with_student(first, SmallEmbedder("tuned", 5))
    assert [part.texts for part in second.parts] == [part.texts for part in first.parts]
    assert second.train.student_dim == 5 and second.origin.student_identity["model"] == "tuned"


@pytest.mark.parametrize("on_disk", [False, True])
def test_texts_without_a_vector_are_left_out_and_counted(cached, monkeypatch, on_disk, caplog):
    if on_disk:
        monkeypatch.setattr(embedded, "IN_MEMORY_BYTES", 16)
    student = Refusing("student", 4)
    splits = with_student(cached(), student)
    kept = [text for text in TEXTS if not text.endswith("7")]
    assert sorted(text for part in splits.parts for text in part.texts) == sorted(kept)
    for part in splits.parts:
        assert np.array_equal(part.student, embed_all(SmallEmbedder("student", 4), part.texts))
        assert np.allclose(part.teacher[:], embed_all(SmallEmbedder("teacher", 6), part.texts), atol=2e-3)
    assert splits.origin.quarantined["student"] == 20 and splits.origin.cut["student"] == Cut(20, None)
    assert "20 sentences are left out: the student gave no vector (a seven)" in caplog.text


def test_a_student_that_embeds_next_to_nothing_is_refused(cached):
    class None_(SmallEmbedder):
        def embed(self, texts, role="document"):
            failures = dict.fromkeys(range(len(texts)), "no")
            yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), failures)

    with pytest.raises(DataError, match=r"0 training sentences with both vectors, expected at least 20 \(.*: no\)"):
        with_student(cached(), None_("student", 4))


def test_pairs_without_texts_cannot_be_embedded(splits):
    with pytest.raises(DataError, match="these pairs have none"):
        with_student(splits, SmallEmbedder())


def test_a_full_disk_is_one_line(cached, monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    splits = cached()
    monkeypatch.setattr(embedded, "IN_MEMORY_BYTES", 16)
    monkeypatch.setattr(embedded.tempfile, "TemporaryFile", Full)
    with pytest.raises(AlignkitError, match="No space left on device.*; free some space and try again"):
        with_student(splits, SmallEmbedder("student", 4))
