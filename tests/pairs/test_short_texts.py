"""`data.units=sentence`: the teacher is asked for sentences of the rows, within a stated budget."""

import numpy as np
import pytest
from small_index import DIM, Words, index_of, vector_of

from alignkit.errors import ConfigError, DataError
from alignkit.pairs.base import MissingVectorsError
from alignkit.pairs.index import load_index

TEXTS = [
    f"The title of document {row}. Its body says {row} more things. The end of {row} comes here." for row in range(100)
]


@pytest.fixture
def models():
    return Words("student", 3), Words("teacher", DIM)


@pytest.fixture
def index(tmp_path):
    return index_of(tmp_path / "docs.parquet", TEXTS)


def load(index, models, tmp_path, **settings):
    return load_index(index, *models, cache_dir=str(tmp_path / "cache"), units="sentence", **settings)


def test_sentences_of_the_fitted_rows_have_vectors_of_their_own(index, models, tmp_path):
    splits = load(index, models, tmp_path, budget=58)
    rows = [row for row, name in enumerate(splits.train.ids) if "sentence" in name]
    assert len(rows) == 50
    for row in rows:
        text = splits.train.texts[row]
        np.testing.assert_allclose(splits.train.teacher[row], vector_of(text), rtol=1e-3)
        np.testing.assert_allclose(splits.train.student[row], vector_of(text)[:3], rtol=1e-3)
        whole = splits.train.ids[row].partition(" of ")[2]
        assert text in TEXTS[int(whole.split()[1])] and whole in splits.train.ids  # none of a held-out row
    assert set(splits.train.weights[rows]) == {0.3}
    assert sorted(set(splits.train.weights)) == [0.2, 0.3, 1.0]
    assert not any("sentence" in name for part in (splits.validation, splits.test, splits.corpus) for name in part.ids)


def test_the_budget_is_kept_stated_and_not_spent_twice(index, models, tmp_path):
    first = load(index, models, tmp_path, budget=58)
    assert len(models[1].asked) == 58
    assert "50 sentences of the rows, each for 0.3, which took 58 calls of the teacher (data.budget=58)" in " ".join(
        first.origin.notes
    )
    assert first.origin.teacher_identity == models[1].identity("query")  # now it is known whose vectors these are
    again = load(index, models, tmp_path, budget=58)
    assert len(models[1].asked) == 58 and "which took 0 calls" in " ".join(again.origin.notes)


def test_documents_alone_never_call_the_teacher(index, models, tmp_path):
    load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    assert models[1].asked == []


@pytest.mark.parametrize("dim", [DIM, DIM + 1])
def test_another_teacher_is_found_out_after_a_few_texts(index, models, tmp_path, dim):
    class Other(Words):
        def embed(self, texts, role="document"):
            for batch in super().embed(texts, role):
                batch.vectors[:] = batch.vectors[:, ::-1].copy()
                yield batch

    other = Other("another", dim)
    with pytest.raises(ConfigError, match=r"is not the one whose vectors they have; .*take data\.units=document"):
        load(index, (models[0], other), tmp_path)
    assert len(other.asked) == 8


def test_what_cannot_be_parted_or_embedded_is_said(models, tmp_path):
    single = index_of(tmp_path / "docs.parquet", [f"a single sentence {row}" for row in range(60)])
    with pytest.raises(DataError, match=r"data\.units=sentence: no row has several sentences.*data\.units=document"):
        load(single, models, tmp_path)
    assert models[1].asked == []
    with pytest.raises(ConfigError, match=r"data\.units=words: expected"):
        load_index(single, *models, cache_dir=str(tmp_path / "cache"), units="words")
    with pytest.raises(ConfigError, match=r"data\.budget=8: expected a whole number"):
        load(single, models, tmp_path, budget=8)


def test_a_student_that_may_not_be_asked_is_named(index, models, tmp_path):
    load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(MissingVectorsError, match="sentences have no student vector"):
        load(index, models, tmp_path, student_live=False)


def test_the_teachers_side_alone_has_the_sentences_for_a_student_to_come(index, models, tmp_path):
    splits = load(index, (None, models[1]), tmp_path, budget=58)
    assert splits.train.student_dim == 0
    assert sum("sentence" in name for name in splits.train.ids) == 50
