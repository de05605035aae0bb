"""A copy that is killed at any moment, again and again: the same command finishes it, nothing twice or missing."""

import contextlib
import multiprocessing
import os
import random
import time

import killed_copies
import numpy as np
import pytest
from engines import DIM, stored, unit_vectors

from alignkit.artifact import Artifact, save_head
from alignkit.heads.linear import LinearHead
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import joined
from alignkit.migration.engine_check import verify_copy
from alignkit.migration.engine_copy import copy_rows

# Milvus Lite is a server in this process, not in the one that is killed; all these engines, and 20 times each:
# ALIGNKIT_KILLS=20 python -m pytest -n0 tests/migration/test_killed_copies.py
KILLS = int(os.environ.get("ALIGNKIT_KILLS", "3"))
KEEPING = ("pgvector", "parquet", "lancedb", "faiss", "sqlite_vec", "qdrant", "chroma")
ROWS, BATCH = 12 * KILLS, 4


@pytest.fixture(scope="module")
def processes():
    """Each begins as a copy of one that has loaded everything already, where the system can do that."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["killed_copies"])
    return context


def on_disk(made, folder):
    """What a client held in its memory, in a folder of its own."""
    client = made.settings.pop("client", None)
    if client is not None:
        from qdrant_client import QdrantClient, models

        copied = QdrantClient(path=str(folder / "qdrant"))
        client.migrate(copied)
        for alias in client.get_aliases().aliases:
            create = models.CreateAlias(collection_name=alias.collection_name, alias_name=alias.alias_name)
            copied.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        copied.close()
        made.settings["path"] = str(folder / "qdrant")
    return made


@pytest.mark.parametrize("engine", KEEPING if KILLS > 3 else KEEPING[:2])
def test_a_copy_that_is_killed_is_finished_by_the_same_command(engine, processes, tmp_path, request):
    artifact = Artifact({"query_head": LinearHead(DIM, 12).eval()})
    save_head(artifact.head, tmp_path / "head")
    vectors = unit_vectors(ROWS)
    made = on_disk(stored(engine, tmp_path, request, vectors), tmp_path)

    draw, stages = random.Random(7), []
    for number in range(KILLS):
        here, there = processes.Pipe()
        process = processes.Process(target=killed_copies.copy, args=(made.settings, tmp_path / "head", BATCH, there))
        process.start()
        there.close()
        with contextlib.suppress(EOFError):  # it had less to do than that
            for _ in range(number and draw.randint(1, 6)):
                assert here.poll(60) and here.recv()
        time.sleep(0.03 * draw.random())
        process.kill()
        process.join()
        with made.open() as index:
            stages.append(index.replacement().stage())
            assert len(joined(list(index.scan(batch=64)))) == ROWS  # what is in use is there as ever
            assert index.describe().dim == DIM
    assert "begun" in stages
    with made.open() as index:
        copy_rows(index, artifact, "document")
        assert verify_copy(index, artifact, "document").read_back == ROWS
        index.replacement().cut_over()
    with made.open() as index:
        rows = joined(list(index.scan()))
        assert sorted(rows.ids, key=str) == sorted(made.ids, key=str)
        place = {one: row for row, one in enumerate(made.ids)}
        order = [place[one] for one in rows.ids]
        expected = unit_rows(artifact.align(vectors[order], "document"))
        np.testing.assert_allclose(rows.vectors, expected, atol=1e-5)
        assert rows.texts == [made.texts[row] for row in order]
