"""A migration inside every engine where something is wrong: rows that cannot be used, another at work, a full disk."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from engines import DIM, ENGINES, ROWS, stored, unit_vectors
from test_index_contract import BROKEN, HOLDS

from alignkit.artifact import Artifact
from alignkit.errors import AlignkitError
from alignkit.heads.linear import LinearHead
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import joined
from alignkit.migration import engine_copy
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_compare import compare_by_rows
from alignkit.migration.engine_copy import copy_rows, plan_copy
from alignkit.migration.engine_notes import read_note

torch.manual_seed(0)
HEAD = Artifact({"query_head": LinearHead(DIM, 12).eval()})


def in_use(made):
    with made.open() as index:
        rows = joined(list(index.scan()))
        order = [rows.ids.index(one) for one in made.ids]
        assert len(rows.ids) == len(set(rows.ids)) == len(made.ids)
        assert [rows.texts[row] for row in order] == made.texts
        return rows.vectors[order]


def assert_new(made, vectors, broken=()):
    good = [row for row in range(len(vectors)) if row not in broken]
    found = in_use(made)
    expected = unit_rows(HEAD.align(np.asarray([vectors[row] for row in good], np.float32), "document"))
    np.testing.assert_allclose(found[good], expected, atol=1e-5)
    assert np.isnan(found[list(broken)]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_step_with_rows_that_have_no_usable_vector(engine, tmp_path, request):
    """They are counted and named, get no new vector and stop nothing; whoever goes back finds them as they were."""
    vectors, kinds = list(unit_vectors()), HOLDS[engine]
    broken = {10 * number + 5: BROKEN[kind] for number, kind in enumerate(kinds)}
    for row, (vector, _) in broken.items():
        vectors[row] = vector
    made = stored(engine, tmp_path, request, vectors)
    said = {str(made.ids[row]): why for row, (_, why) in broken.items()}
    with made.open() as index:
        assert plan_copy(index, HEAD, "document").faults == said
        assert index.replacement().stage() == "untouched"
        copied = copy_rows(index, HEAD, "document")
        assert (copied.written, copied.faults) == (ROWS - len(kinds), len(kinds))
        assert said[copied.first[0]] == copied.first[1]
    with made.open() as index:
        assert copy_rows(index, HEAD, "document").written == 0
    with made.open() as index:
        found = verify_copy(index, HEAD, "document")
        assert found.read_back == ROWS - len(kinds) and found.smallest_cosine > 0.99999
    with made.open() as index:
        assert compare_by_rows(index).queries == ROWS - len(kinds)
    with made.open() as index:
        note = read_note(index.replacement())
        assert note.verified and note.compared
        index.replacement().cut_over()
    assert_new(made, vectors, broken)
    with made.open() as index:
        index.replacement().roll_back()
    with made.open() as index:
        faults = joined(list(index.scan())).faults
        assert sorted(faults.values()) == sorted(said.values())


# clients of the others are of one thread here
@pytest.mark.parametrize("engine", sorted({*ENGINES} - {"qdrant", "milvus"}))
def test_two_copies_at_once_leave_every_row_with_one_new_vector(engine, tmp_path, request, monkeypatch):
    monkeypatch.setattr(engine_copy, "BATCH", 7)
    made = stored(engine, tmp_path, request)

    def copy(_):
        with made.open() as index:
            try:
                return copy_rows(index, HEAD, "document").written
            except AlignkitError as error:  # in one line, and the other goes on
                assert "\n" not in str(error) and ("again" in str(error) or "already exists" in str(error))
                return 0

    with ThreadPoolExecutor(2) as pool:
        assert max(pool.map(copy, range(2))) > 0
    with made.open() as index:
        copy_rows(index, HEAD, "document")
        assert verify_copy(index, HEAD, "document").read_back == ROWS
        index.replacement().cut_over()
    assert_new(made, unit_vectors())


@contextmanager
def no_file_may_grow_beyond(size):
    """What the system says then comes from the same places as that a disk is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# where nothing is there yet, where vectors are gathered, and where the new file is written
@pytest.mark.parametrize("engine", ["parquet", "faiss", "lancedb", "sqlite_vec"])
@pytest.mark.parametrize("size", [0, 1_000, 3_000])
def test_a_disk_that_is_full_loses_nothing_and_the_next_copy_goes_on(engine, size, tmp_path, request, monkeypatch):
    monkeypatch.setattr(engine_copy, "BATCH", 20)
    made = stored(engine, tmp_path, request)
    with no_file_may_grow_beyond(size), pytest.raises(AlignkitError) as caught, made.open() as index:
        copy_rows(index, HEAD, "document")
    assert "\n" not in str(caught.value), caught.value
    np.testing.assert_allclose(in_use(made), unit_vectors(), atol=1e-6)
    with made.open() as index:
        copy_rows(index, HEAD, "document")
        assert verify_copy(index, HEAD, "document").read_back == ROWS
        index.replacement().cut_over()
    assert_new(made, unit_vectors())
