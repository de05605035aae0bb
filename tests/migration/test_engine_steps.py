"""A migration inside every engine: copied, read back, compared, and what stops it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from engines import DIM, ENGINES, ROWS, fill, stored, unit_vectors

from alignkit.artifact import Artifact
from alignkit.errors import ConfigError, DataError
from alignkit.heads.linear import LinearHead
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.migration import engine_copy
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_compare import compare_by_rows
from alignkit.migration.engine_copy import copy_rows, plan_copy
from alignkit.migration.engine_notes import read_note

WIDE = 12


def head(seed=0, width=DIM):
    torch.manual_seed(seed)
    return Artifact({"query_head": LinearHead(width, WIDE).eval()})


HEAD = head()


def expected(vectors):
    return unit_rows(HEAD.align(np.asarray(vectors, dtype=np.float32), "document"))


@pytest.fixture(params=ENGINES)
def made(request, tmp_path):
    return stored(request.param, tmp_path, request)


@pytest.fixture
def docs(postgres, connection, table):
    """A table of PostgreSQL with 20 rows."""
    fill(connection, table, vector="vector")
    with PgvectorIndex(table, url=postgres.url, text="body") as index:
        yield index


@pytest.mark.parametrize("made", ["pgvector", "parquet"], indirect=True)  # the others with rows that cannot be used
def test_every_step_and_each_from_another_process(made):
    with made.open() as index:
        plan = plan_copy(index, HEAD, "document")
        assert (plan.index.rows, plan.dim, plan.trial_rows, plan.faults) == (ROWS, WIDE, ROWS, {})
        assert index.replacement().stage() == "untouched"  # planning changes nothing
    with made.open() as index:
        assert copy_rows(index, HEAD, "document").written == ROWS
    with made.open() as index:
        assert copy_rows(index, HEAD, "document").written == 0
    with made.open() as index:
        found = verify_copy(index, HEAD, "document")
        assert (found.rows, found.read_back) == (ROWS, ROWS)
        assert found.smallest_cosine > 0.99999
    with made.open() as index:
        overlap = compare_by_rows(index).overlap
        wanted = [set(near[:10]) for near in _nearest(unit_vectors())]
        got = [set(near[:10]) for near in _nearest(expected(unit_vectors()))]
        by_hand = np.mean([len(one & other) / 10 for one, other in zip(wanted, got, strict=True)])
        assert overlap.value == pytest.approx(by_hand, abs=0.02)  # HNSW may lose a row
        assert overlap.low < overlap.value < overlap.high
    with made.open() as index:
        note = read_note(index.replacement())
        assert note.verified and note.compared
        index.replacement().cut_over()
    with made.open() as index:
        rows = joined(list(index.scan()))
        order = [rows.ids.index(one) for one in made.ids]
        np.testing.assert_allclose(rows.vectors[order], expected(unit_vectors()), atol=1e-5)
        assert verify_copy(index, HEAD, "document").read_back == ROWS  # also looked at once it is in use
        with pytest.raises(DataError, match="roll back or drop them first"):
            copy_rows(index, HEAD, "document")
        index.replacement().roll_back()
    with made.open() as index:
        assert index.describe().dim == DIM


def _nearest(vectors):
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)


@pytest.mark.parametrize("made", ["parquet", "pgvector", "chroma"], indirect=True)
def test_an_interrupted_copy_is_finished_by_the_next(made, monkeypatch):
    monkeypatch.setattr(engine_copy, "BATCH", 16)
    looked_at = []

    def stop(count):
        looked_at.append(count)
        if len(looked_at) == 2:
            raise KeyboardInterrupt

    with made.open() as index, pytest.raises(KeyboardInterrupt):
        copy_rows(index, HEAD, "document", stop)
    with made.open() as index:
        with pytest.raises(DataError, match=f"{ROWS - 32} rows have no new vector yet; write them with step=copy"):
            verify_copy(index, HEAD, "document")
        assert copy_rows(index, HEAD, "document").written == ROWS - 32
        assert verify_copy(index, HEAD, "document").read_back == ROWS


@pytest.mark.parametrize("made", ["pgvector"], indirect=True)  # where a note lies is each engine's, this is not
def test_vectors_of_two_heads_are_never_mixed(made):
    with made.open() as index:
        copy_rows(index, HEAD, "document")
    with made.open() as index:
        for step in (copy_rows, plan_copy, verify_copy):
            with pytest.raises(ConfigError, match="a migration by another head has begun .*step=give_up"):
                step(index, head(seed=1), "document")
        index.replacement().give_up()
        copy_rows(index, head(seed=1), "document")
        with pytest.raises(ConfigError, match="another head"):
            verify_copy(index, HEAD, "document")


@pytest.mark.parametrize("made", ["parquet"], indirect=True)
def test_a_head_for_another_width_is_refused_before_anything_is_made(made):
    with made.open() as index:
        for step in (plan_copy, copy_rows):
            with pytest.raises(DataError, match="holds 8-d vectors, this head takes 5-d ones"):
                step(index, head(width=5), "document")
        assert index.replacement().stage() == "untouched"


def test_rows_without_a_usable_vector_are_counted_and_named(docs, connection, table):
    connection.execute(f"UPDATE {table} SET embedding = NULL WHERE id = 3")
    connection.execute(f"UPDATE {table} SET embedding = '[1,2,3]' WHERE id = 5")
    assert plan_copy(docs, HEAD, "document").faults == {
        "3": "it has no vector",
        "5": "its vector has 3 dimensions, not 8",
    }
    copied = copy_rows(docs, HEAD, "document")
    assert (copied.written, copied.faults, copied.first) == (18, 2, ("3", "it has no vector"))
    assert verify_copy(docs, HEAD, "document").read_back == 18
    docs.replacement().cut_over()


def test_vectors_that_are_not_the_heads_are_found_on_reading_back(docs, connection, table):
    copy_rows(docs, HEAD, "document")
    connection.execute(f"UPDATE {table} SET embedding_alignkit_new = %s WHERE id = 7", (str([1.0] * WIDE),))
    with pytest.raises(DataError, match=r"1 of 20 rows .* \(the first: 7, cosine"):
        verify_copy(docs, HEAD, "document")
    assert read_note(docs.replacement()).verified is None


def test_a_row_that_changes_unnoticed_is_found_on_reading_back(tmp_path, request):
    made = stored("lancedb", tmp_path, request)
    with made.open() as index:
        copy_rows(index, HEAD, "document")
        index.table.update(where="id = 'd4'", values={"embedding": [1.0] + [0.0] * (DIM - 1)})
    with made.open() as index, pytest.raises(DataError, match=r"the first: d4, cosine"):
        verify_copy(index, HEAD, "document")


def test_another_text_beside_a_new_vector_is_found(tmp_path, request):
    made = stored("qdrant", tmp_path, request)
    with made.open() as index:
        copy_rows(index, HEAD, "document")
        client, own = index.calls.client, made.ids[4]
        client.set_payload("docs", {"body": "changed"}, points=[own])
        with pytest.raises(DataError, match=f"1 of {ROWS} rows .* another text .*{own}"):
            verify_copy(index, HEAD, "document")


def test_a_few_stragglers_leave_what_was_found_out_and_many_do_not(docs, connection, table, monkeypatch):
    monkeypatch.setattr(engine_copy, "STRAGGLERS", 0.1)
    copy_rows(docs, HEAD, "document")
    verify_copy(docs, HEAD, "document")
    compare_by_rows(docs)
    insert = f"INSERT INTO {table} SELECT id + %s, body, embedding FROM {table} WHERE id < %s"
    connection.execute(insert, (100, 2))
    with pytest.raises(DataError, match="2 rows have no new vector"):
        docs.replacement().cut_over()
    assert copy_rows(docs, HEAD, "document").written == 2
    assert read_note(docs.replacement()).compared
    connection.execute(insert, (200, 10))
    assert copy_rows(docs, HEAD, "document").written == 10
    note = read_note(docs.replacement())
    assert note.verified is None and note.compared is None


def test_two_copies_at_once_write_every_row_once(docs, postgres, connection, table, monkeypatch):
    monkeypatch.setattr(engine_copy, "BATCH", 2)

    def copy(_):
        with PgvectorIndex(table, url=postgres.url) as index:
            return copy_rows(index, HEAD, "document").written

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(copy, range(2))) == 20
    assert verify_copy(docs, HEAD, "document").read_back == 20
    docs.replacement().cut_over()
    np.testing.assert_allclose(joined(list(docs.scan())).vectors, expected(unit_vectors(20)), atol=1e-5)
    built = connection.execute("SELECT count(*) FROM pg_indexes WHERE tablename = %s", (table,)).fetchone()
    assert built == (2,)
