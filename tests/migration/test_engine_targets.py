"""A migration to every engine that takes rows: copied, killed, followed, read back, compared."""

import uuid

import numpy as np
import pytest
import torch
from engines import DIM, fill
from new_places import PLACES, new_place

from alignkit.artifact import Artifact
from alignkit.errors import ConfigError, DataError
from alignkit.heads.linear import LinearHead
from alignkit.indexes.elsewhere import Elsewhere
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import joined
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.migration import engine_copy
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_compare import compare_by_rows
from alignkit.migration.engine_copy import copy_rows, plan_copy
from alignkit.migration.engine_notes import read_note

ROWS, WIDE = 30, 12


def head(seed=0):
    torch.manual_seed(seed)
    return Artifact({"query_head": LinearHead(DIM, WIDE).eval()})


HEAD = head()


@pytest.fixture
def docs(postgres, connection, table):
    fill(connection, table, rows=ROWS)
    with PgvectorIndex(table, url=postgres.url, text="body", payload=["*"]) as index:
        yield index


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    return new_place(request.param, tmp_path, request)


def test_every_step_to_every_engine_while_the_table_changes(docs, place, connection, table, monkeypatch):
    monkeypatch.setattr(engine_copy, "BATCH", 8)
    with place.new() as new:
        into = Elsewhere(docs, new)
        plan = plan_copy(docs, HEAD, "document", into)
        assert new.place in plan.way and into.stage() == "untouched"

        def stop(count):
            connection.execute(f"UPDATE {table} SET body = 'changed' WHERE id = 1")  # moved already
            connection.execute(f"DELETE FROM {table} WHERE id = 2")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copy_rows(docs, HEAD, "document", stop, into)
    with place.new() as new:
        into = Elsewhere(docs, new)
        with pytest.raises(DataError, match=f"{ROWS - 8 + 1} rows have no new vector yet"):
            verify_copy(docs, HEAD, "document", into=into)
        with pytest.raises(ConfigError, match="a migration by another head has begun"):
            copy_rows(docs, head(seed=1), "document", into=into)
        copied = copy_rows(docs, HEAD, "document", into=into)
        assert (copied.written, copied.pruned) == (ROWS - 8 + 1, 1)
    with place.new() as new:
        into = Elsewhere(docs, new)
        assert verify_copy(docs, HEAD, "document", into=into).read_back == ROWS - 1
        found = compare_by_rows(docs, into=into)
        assert found.queries == ROWS - 1 and found.half is None
        note = read_note(into)
        assert note.verified and note.compared
        into.cut_over()
        with pytest.raises(DataError, match="roll back or drop them first"):
            copy_rows(docs, HEAD, "document", into=into)
        with new.opened() as index:
            rows, old = joined(list(index.scan())), joined(list(docs.scan()))
    order = [[str(one) for one in rows.ids].index(str(one)) for one in old.ids]
    assert [rows.texts[row] for row in order] == old.texts and "changed" in old.texts
    np.testing.assert_allclose(rows.vectors[order], unit_rows(HEAD.align(old.vectors, "document")), atol=1e-5)


@pytest.mark.parametrize("place", ["qdrant"], indirect=True)
def test_rows_with_uuids_are_found_again_where_these_are_texts(postgres, connection, table, place):
    fill(connection, table, key="id uuid PRIMARY KEY", ids=[uuid.UUID(int=10**30 + row) for row in range(20)])
    with PgvectorIndex(table, url=postgres.url) as index, place.new() as new:
        into = Elsewhere(index, new)
        copy_rows(index, HEAD, "document", into=into)
        assert verify_copy(index, HEAD, "document", into=into).read_back == 20
        assert compare_by_rows(index, into=into).queries == 20


def test_a_vector_that_was_changed_there_is_found_on_reading_back(docs, request, tmp_path, connection):
    place = new_place("pgvector", tmp_path, request)
    with place.new() as new:
        into = Elsewhere(docs, new)
        copy_rows(docs, HEAD, "document", into=into)
        name = place.settings["table"]
        connection.execute(f'UPDATE "{name}" SET embedding = %s WHERE id = 7', (str([1.0] * WIDE),))
        with pytest.raises(DataError, match=r"1 of 30 rows .* \(the first: 7, cosine"):
            verify_copy(docs, HEAD, "document", into=into)
        connection.execute(f'UPDATE "{name}" SET embedding = NULL WHERE id = 7')
        with pytest.raises(DataError, match="1 of 30 rows .* have no usable new vector .the first: 7"):
            verify_copy(docs, HEAD, "document", into=into)
        connection.execute(f'DELETE FROM "{name}" WHERE id = 7')
        copy_rows(docs, HEAD, "document", into=into)  # notices that one
        connection.execute(f"UPDATE \"{name}\" SET body = 'other' WHERE id = 8")
        with pytest.raises(DataError, match="another text beside their new vector .the first: 8"):
            verify_copy(docs, HEAD, "document", into=into)
        assert read_note(into).verified is None
