"""Rows of one engine in another: ids, texts and payload stay theirs, whatever happens meanwhile."""

import numpy as np
import pytest
from engines import DIM, ROWS, stored, unit_vectors
from new_places import PLACES, new_place

from alignkit.indexes.elsewhere import Elsewhere

WIDE = 12
MADE = unit_vectors(ROWS, WIDE, seed=4)


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    return new_place(request.param, tmp_path, request)


@pytest.fixture
def made(request, tmp_path):
    """Ids of two types, and one row without a vector."""
    vectors = list(unit_vectors())
    vectors[5] = [0.0] * DIM
    return stored("qdrant", tmp_path, request, vectors)


def move(made, place, batch=13):
    with made.open() as index:
        replacement = Elsewhere(index, place.new())
        replacement.begin(WIDE)
        for rows in replacement.missing(batch):
            replacement.write(rows, new_vectors(made, rows))
        return replacement.build_index()


def new_vectors(made, rows):
    place = {one: row for row, one in enumerate(made.ids)}
    return MADE[[place[one] for one in rows.ids]]


def test_rows_are_moved_whole_and_found(made, place):
    move(made, place)
    new = place.new()
    with new.opened() as index:
        assert index.describe().dim == WIDE
        rows = index.fetch(made.ids)
        if len(rows) < ROWS:
            rows = index.fetch([str(one) for one in made.ids])
        assert [str(one) for one in rows.ids] == [str(one) for one in made.ids]
        assert rows.texts == made.texts
        good = [row for row in range(ROWS) if row != 5]
        np.testing.assert_allclose(rows.vectors[good], MADE[good], atol=1e-6)
        assert np.isnan(rows.vectors[5]).all()
        assert [str(hits[0]) for hits in index.search(MADE[7:9], 3)[0]] == [str(one) for one in made.ids[7:9]]
    new.close()
