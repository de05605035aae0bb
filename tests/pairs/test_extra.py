from dataclasses import replace

import numpy as np
import pytest

from alignkit.errors import DataError
from alignkit.pairs.base import Origin, Pairs, PairSplits
from alignkit.pairs.extra import extra_pairs, with_extra
from alignkit.pairs.views import own_and_extra, take_pairs


def pairs_of(name, count, seed, dims=(3, 5), texts=True):
    generator = np.random.default_rng(seed)
    student, teacher = (generator.standard_normal((count, dim)).astype(np.float32) for dim in dims)
    said = [f"{name} sentence {row}" for row in range(count)]
    return Pairs([f"{name}-{row}" for row in range(count)], student, teacher, texts=said if texts else None)


def splits_of(name, seed, **settings):
    parts = [pairs_of(f"{name}{part}", 30, 10 * seed + part, **settings) for part in range(3)]
    return PairSplits(*parts, origin=Origin(student_identity={"model": "s"}, teacher_identity={"model": "t"}))


def test_all_of_a_second_source_is_trained_on_and_nothing_else_changes():
    own, second = splits_of("own", 1), splits_of("other", 2)
    both = with_extra(own, extra_pairs(own, second), 0.25)
    assert (both.validation, both.test) == (own.validation, own.test)
    assert both.train.weights.tolist() == [1.0] * 30 + [0.25] * 90
    assert both.train.texts == [*own.train.texts, *(text for part in second.parts for text in part.texts)]
    assert len(set(both.train.ids)) == 120
    np.testing.assert_array_equal(both.train.teacher[-1:], second.test.teacher[-1:])


def test_own_sentences_are_left_out_of_a_second_source_by_their_text_or_vector():
    own, second = splits_of("own", 1), splits_of("other", 2)
    second.train.texts[4] = own.test.texts[7].upper() + "!"
    second.test.student[5] = own.validation.student[9]
    found = extra_pairs(own, second)
    assert len(found) == 88
    assert not {"other0 sentence 4", "other2 sentence 5"} & set(found.texts)


def test_bare_vectors_can_be_the_second_source():
    own, second = splits_of("own", 1), splits_of("other", 2, texts=False)
    both = with_extra(own, extra_pairs(own, second), 1.0)
    assert both.train.texts is None and len(both.train) == 120


def test_vectors_of_other_models_are_refused():
    own = splits_of("own", 1)
    with pytest.raises(DataError, match="extra: holds 6-d vectors of the teacher, the own pairs 5-d ones"):
        extra_pairs(own, splits_of("other", 2, dims=(3, 6)))
    other = splits_of("other", 2)
    stranger = replace(other, origin=replace(other.origin, student_identity={"model": "another"}))
    with pytest.raises(DataError, match="extra: its student is another model"):
        extra_pairs(own, stranger)
    with pytest.raises(DataError, match="holds no sentence that is not among the own ones"):
        extra_pairs(own, own)


def test_own_and_extra_pairs_come_apart_again():
    own = splits_of("own", 1)
    train = with_extra(own, extra_pairs(own, splits_of("other", 2)), 0.1).train
    rows = np.arange(0, 120, 7)
    mine, others = own_and_extra(take_pairs(train, rows))
    assert mine.texts == [own.train.texts[row] for row in rows if row < 30]
    assert set(others.weights.tolist()) == {0.1} and len(mine) + len(others) == len(rows)
    assert own_and_extra(own.train) == (own.train, None)
