"""New vectors beside the old, put in use, taken back, kept: in every engine, each step again from another process."""

import numpy as np
import pytest
from engines import DIM, ENGINES, ROWS, stored, unit_vectors

from alignkit.errors import DataError
from alignkit.indexes.index_rows import joined

WIDE = 12
MADE = unit_vectors(ROWS, WIDE, seed=4)


@pytest.fixture(params=ENGINES)
def made(request, tmp_path):
    vectors = list(unit_vectors())
    # every engine holds a zero vector
    vectors[5] = [0.0] * DIM
    return stored(request.param, tmp_path, request, vectors)


def new_vectors(made, rows):
    place = {one: row for row, one in enumerate(made.ids)}
    return MADE[[place[one] for one in rows.ids]]


def write_everything(made, batch=13):
    with made.open() as index:
        replacement = index.replacement()
        replacement.begin(WIDE)
        for rows in replacement.missing(batch):
            replacement.write(rows, new_vectors(made, rows))
        return replacement.build_index()


def vectors_in_use(made):
    with made.open() as index:
        rows = joined(list(index.scan()))
        order = [rows.ids.index(one) for one in made.ids]
        assert index.describe().dim == rows.vectors.shape[1]
        return rows.vectors[order], [rows.texts[row] for row in order]


def the_stage(made):
    with made.open() as index:
        return index.replacement().stage()


def assert_old(made):
    vectors, texts = vectors_in_use(made)
    assert texts == made.texts
    good = [row for row in range(ROWS) if row != 5]
    np.testing.assert_allclose(vectors[good], np.asarray(made.vectors)[good], atol=1e-6)


def assert_new(made):
    vectors, texts = vectors_in_use(made)
    assert texts == made.texts  # and ids: each vector lies with its own
    good = [row for row in range(ROWS) if row != 5]
    np.testing.assert_allclose(vectors[good], MADE[good], atol=1e-6)
    assert np.isnan(vectors[5]).all()
    with made.open() as index:
        assert index.search(MADE[7:8], 3)[0][0][0] == made.ids[7]


def assert_other(made, vectors):
    """What is not in use can be searched and read all the same."""
    good = [row for row in range(ROWS) if row != 5]
    with made.open() as index, index.replacement().other() as other:
        rows = other.fetch([made.ids[row] for row in good])
        np.testing.assert_allclose(rows.vectors, np.asarray(vectors)[good], atol=1e-6)
        assert rows.texts == [made.texts[row] for row in good]
        assert other.search(np.asarray(vectors)[7:8], 1)[0] == [[made.ids[7]]]


def test_there_and_back_and_there_for_good_with_a_note_beside(made):
    """Whoever goes on, on another machine too, finds how far it is, whose vectors these are, and both of them."""
    said = {"head": "it's 100% ünï", "rows": 3}
    with made.open() as index:
        replacement = index.replacement()
        assert (replacement.stage(), replacement.note()) == ("untouched", None)
        for step in (replacement.other, lambda: replacement.keep_note(said)):
            with pytest.raises(DataError, match="no replacement has begun"):
                step()
        replacement.begin(WIDE)
        if type(replacement).__name__ in ("ParquetReplacement", "FaissReplacement", "LancedbReplacement"):
            with pytest.raises(DataError, match="build_index"):
                replacement.other()
        assert replacement.note() is None
        replacement.keep_note({"other": 1})
        replacement.keep_note(said)
    write_everything(made)
    assert the_stage(made) == "begun"
    assert_old(made)
    assert_other(made, MADE)
    for _ in range(2):
        with made.open() as index:
            replacement = index.replacement()
            replacement.cut_over(force=True)  # one row has no vector to map
            # the index that is open follows
            assert index.describe().dim == WIDE == joined(list(index.scan())).vectors.shape[1]
            assert replacement.note() == said
            with pytest.raises(DataError, match="roll back or drop them first"):
                replacement.begin(WIDE)
        assert the_stage(made) == "cut over"
        assert_new(made)
        assert_other(made, made.vectors)
        with made.open() as index:
            replacement = index.replacement()
            replacement.roll_back()
            assert (index.describe().dim, replacement.note()) == (DIM, said)
        assert the_stage(made) == "begun"
        assert_old(made)
    assert_other(made, MADE)
    with made.open() as index:
        replacement = index.replacement()
        replacement.cut_over(force=True)
        replacement.drop_old()
        assert (replacement.stage(), replacement.note()) == ("untouched", None)
        with pytest.raises(DataError, match="cannot roll back"):
            replacement.roll_back()
    assert_new(made)
    # and once more: no note of the first is found
    made.vectors = MADE
    write_everything(made)
    with made.open() as index:
        replacement = index.replacement()
        assert replacement.note() is None
        replacement.keep_note(said)
        replacement.cut_over(force=True)
    assert_new(made)
    with made.open() as index:
        replacement = index.replacement()
        replacement.roll_back()
        replacement.give_up()
        assert replacement.note() is None
        replacement.begin(WIDE)
        assert replacement.note() is None


def test_writing_goes_on_where_it_stopped(made):
    with made.open() as index:
        replacement = index.replacement()
        replacement.begin(WIDE)
        first = next(replacement.missing(20))
        assert replacement.write(first, new_vectors(made, first)) == len(first) - len(first.faults)
        # once more replaces them
        first = next(index.scan(batch=20))
        assert replacement.write(first, new_vectors(made, first)) == len(first) - len(first.faults)
    with made.open() as index:
        replacement = index.replacement()
        replacement.begin(WIDE)
        rest = joined(list(replacement.missing(20)))
        left = {made.ids[row] for row in range(ROWS)} - set(first.ids)
        assert left <= set(rest.ids) <= left | {made.ids[5]}
        with pytest.raises(DataError, match="rows have no new vector|not built|no column yet"):
            replacement.cut_over()
    write_everything(made)
    with made.open() as index:
        index.replacement().cut_over(force=True)
    assert_new(made)


def test_steps_out_of_turn_and_vectors_that_do_not_fit_are_refused_and_change_nothing(made):
    with made.open() as index:
        replacement, rows = index.replacement(), next(index.scan(batch=4))
        for step in (replacement.cut_over, replacement.roll_back, replacement.drop_old):
            with pytest.raises(DataError, match="cannot"):
                step()
        with pytest.raises(DataError, match="begun"):
            replacement.write(rows, MADE[:4])
        replacement.begin(WIDE)
        replacement.begin(WIDE)
        with pytest.raises(DataError, match="by 12-d vectors has begun, and these have 5"):
            replacement.begin(5)
        with pytest.raises(DataError, match=r"expected \(4, 12\)"):
            replacement.write(rows, MADE[:4, :5])
        with pytest.raises(DataError, match="holds NaN or infinity; nothing"):
            replacement.write(rows, np.full((4, WIDE), np.nan))
        replacement.give_up()
        replacement.give_up()
        assert replacement.stage() == "untouched"
        assert_old(made) if "client" in made.settings else None
    assert_old(made)
