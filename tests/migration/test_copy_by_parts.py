"""The copy inside an engine by several workers: every row once, whatever fails, and another copy begins anew."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import DIM, ENGINES, ROWS, fill, stored
from new_places import new_place

from alignkit.artifact import Artifact, load_artifact, save_head
from alignkit.errors import AlignkitError, ConfigError
from alignkit.heads.linear import LinearHead
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import joined
from alignkit.migration import engine_parts
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_notes import read_note
from alignkit.migration.engine_parts import copy_by_parts
from alignkit.migration.places import opened
from alignkit.workers.local import LocalEngine

WIDE = 12
TOGETHER = [engine for engine in ENGINES if engine in ("lancedb", "parquet", "pgvector", "sqlite_vec")]
torch.manual_seed(0)
HEAD = Artifact({"query_head": LinearHead(DIM, WIDE).eval()})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, tmp_path):
    monkeypatch.setattr(engine_parts, "FEWEST_ROWS", 7)
    monkeypatch.setattr(engine_parts, "BATCH", 4)
    monkeypatch.chdir(tmp_path)


def copied(settings, engine=None, on_progress=lambda progress: None):
    with opened(settings) as opened_as:
        return copy_by_parts(opened_as, settings, HEAD, "document", engine or LocalEngine(), on_progress)


def expect_moved(settings, rows=ROWS):
    """Every row has the head's vector, by reading all of them."""
    with opened(settings) as (index, replacement), replacement.other() as other:
        old, new = joined(list(index.scan())), joined(list(other.scan()))
        expected = dict(zip(map(str, old.ids), unit_rows(HEAD.align(old.vectors, "document")), strict=True))
        assert sorted(map(str, new.ids)) == sorted(expected) and len(new) == rows
        made = np.array([expected[str(one)] for one in new.ids])
        assert np.abs(made - new.vectors).max() < 2e-3  # halfvec
        assert verify_copy(index, HEAD, "document", into=replacement).read_back == rows


@pytest.mark.parametrize("engine", ENGINES)
def test_stretches_hold_every_row_once_and_in_order(engine, tmp_path, request):
    with stored(engine, tmp_path, request).open() as index:
        cut = list(index.stretches(7))
        assert sum(one.rows for one in cut) == ROWS and len(cut) >= 4
        found = [str(one) for stretch in cut for rows in index.within(stretch, 4) for one in rows.ids]
        assert found == [str(one) for one in joined(list(index.scan())).ids]


@pytest.mark.parametrize("engine", TOGETHER)
def test_every_row_is_copied_once(engine, tmp_path, request):
    settings = {"source": stored(engine, tmp_path, request).settings}
    seen = []
    done = copied(settings, on_progress=seen.append)
    assert (done.written, done.faults) == (ROWS, 0)
    assert (seen[0].done, seen[-1].done, seen[-1].size) == (0, ROWS, ROWS)
    expect_moved(settings)
    assert copied(settings).written == 0
    with opened(settings) as (_, replacement):
        assert read_note(replacement).copied
        replacement.give_up()
    assert copied(settings).written == ROWS  # nothing of the first copy counts
    expect_moved(settings)


class FromElsewhere(LocalEngine):
    """Its workers begin in another folder, as on another machine."""

    def run(self, work, parts):
        os.chdir(Path.cwd().anchor)
        yield from super().run(pickle.loads(pickle.dumps(work)), parts)
        self.work = work


def test_workers_find_what_the_command_names(tmp_path, request, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    settings = {"source": stored("parquet", tmp_path, request).settings}
    settings["source"]["path"] = os.path.relpath(settings["source"]["path"], tmp_path)
    assert copied(settings, engine := FromElsewhere()).written == ROWS
    assert engine.work.variables["AWS_SECRET_ACCESS_KEY"] == "wJalrXUtnFEMI"
    assert "wJalr" not in repr(engine.work)


@pytest.mark.parametrize("engine", ["chroma", "faiss", "milvus", "qdrant"])
def test_what_one_process_alone_can_use_is_refused(engine, tmp_path, request):
    made = stored(engine, tmp_path, request)
    with made.open() as index, pytest.raises(ConfigError, match="only one process can read and write this"):
        settings = {"source": made.settings}
        copy_by_parts((index, index.replacement()), settings, HEAD, "document", LocalEngine())
    with made.open() as index:
        assert index.replacement().stage() == "untouched"


@pytest.mark.parametrize("target", ["pgvector", "sqlite_vec", "lancedb", "parquet"])
def test_rows_are_moved_to_another_engine(target, tmp_path, request):
    source = stored("sqlite_vec", tmp_path, request)
    place = new_place(target, tmp_path, request)
    settings = {"source": {**source.settings, "payload": ["*"]}, "target": place.settings}
    assert copied(settings).written == ROWS
    expect_moved(settings)


def test_processes_of_their_own(tmp_path, postgres, connection, table):
    fill(connection, table, rows=40)
    connection.execute(f"UPDATE {table} SET embedding = NULL WHERE id = 3")
    pgvector = {"_target_": "alignkit.indexes.pgvector.PgvectorIndex", "url": postgres.url, "table": table}
    settings = {"source": {**pgvector, "text": "body"}}
    head = load_artifact(save_head(HEAD.head, tmp_path / "head"))  # as a command has it
    with opened(settings) as opened_as:
        done = copy_by_parts(opened_as, settings, head, "document", LocalEngine(2))
    assert (done.written, done.faults, done.first) == (39, 1, ("3", "it has no vector"))


def test_a_part_that_fails_is_named_and_the_rest_is_copied(tmp_path, postgres, connection, table):
    fill(connection, table, rows=40)
    connection.execute(f'ALTER TABLE {table} ADD CONSTRAINT "no nines" CHECK (id <> 9) NOT VALID')
    pgvector = {"_target_": "alignkit.indexes.pgvector.PgvectorIndex", "url": postgres.url, "table": table}
    settings = {"source": {**pgvector, "text": "body"}}
    with pytest.raises(AlignkitError, match=r"1 of 6 parts failed, 5 are done; part 1 .*no nines"):
        copied(settings)
    asked = f"SELECT count(*) FROM {table} WHERE embedding_alignkit_new IS NULL"
    assert connection.execute(asked).fetchone()[0] == 7
    connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "no nines"')
    tried = []
    assert copied(settings, on_progress=tried.append).written == 40
    assert tried[0].earlier == 33  # of the others nothing is done again
    expect_moved(settings, 40)


def test_rows_that_come_and_change_meanwhile_are_caught_up(tmp_path, postgres, connection, table):
    vectors = fill(connection, table, rows=40)
    pgvector = {"_target_": "alignkit.indexes.pgvector.PgvectorIndex", "url": postgres.url, "table": table}
    settings = {"source": {**pgvector, "text": "body"}}
    changed = []

    def change(progress):
        if progress.done and not changed:
            changed.append(True)
            text = str(vectors[5].tolist())
            connection.execute(f"UPDATE {table} SET embedding = %s WHERE id IN (1, 30)", (text,))
            connection.execute(f"INSERT INTO {table} SELECT id + 100, body, embedding FROM {table} WHERE id < 3")
            connection.execute(f"DELETE FROM {table} WHERE id = 20")

    copied(settings, on_progress=change)
    expect_moved(settings, 42)


def test_an_address_with_a_password_is_not_written(tmp_path, postgres, connection, table):
    fill(connection, table, rows=20)
    url = postgres.url.replace("postgres:@", "postgres:hidden-word@")
    pgvector = {"_target_": "alignkit.indexes.pgvector.PgvectorIndex", "url": url, "table": table}

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied({"source": pgvector}, on_progress=stop)
    (manifest,) = tmp_path.rglob("manifest.json")
    assert "hidden-word" not in manifest.read_text(encoding="utf-8")
    assert table in manifest.read_text(encoding="utf-8")
