"""One server through a whole migration: it is started once, and clients get hits at every step."""

import numpy as np
import pytest
import torch
from running_server import running
from searched import ROWS, RecordedTeacher, best, ids_of, put_table, searching
from waiting import Client, until

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.heads.linear import LinearHead
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.migration.engine_copy import copy_rows
from alignkit.migration.engine_notes import keep, note_for
from alignkit.pairs.demo import load_demo
from alignkit.searching import spaces


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture
def query(demo):
    return demo.test.texts[3]


def exact(demo, aligned):
    """The query's and the rows' vectors in both spaces."""
    student = np.asarray(demo.test.student[3], dtype=np.float32)
    stored = np.asarray(demo.train.student[:ROWS], dtype=np.float32)
    return student, aligned.align(student[None])[0], stored, aligned.align(stored)


def ask(client, query, route="head", **asked):
    return client.post("/search", json={"query": query, "route": route, **asked}).json()


def until_found(client, query, route, used):
    return until(lambda: (answer := ask(client, query, route))["route"] == used and answer)


def test_a_server_follows_its_index_from_the_old_vectors_to_the_new_and_back(
    aligned, artifact, postgres, connection, table, demo, query
):
    student, head, old, new = exact(demo, aligned)
    put_table(connection, table, old)
    by_old, by_new = best(old, student), best(new, head)
    teacher = RecordedTeacher(demo)
    with (
        running(searching(aligned, postgres.url, table, teacher)) as url,
        Client(base_url=url) as client,
        PgvectorIndex(table, postgres.url) as index,
    ):
        # nothing is migrated: the student's own search, whatever is asked for
        for route in ("head", "teacher", "cascade", "student"):
            answer = ask(client, query, route)
            assert (answer["route"], ids_of(answer)) == ("student", by_old)
            assert ("need a migrated one" in answer["reason"]) if route != "student" else answer["reason"] is None
        assert "need a migrated one" in client.get("/search").json()["routes"]["head"]

        # half of the rows have their new vector
        replacement = index.replacement()
        replacement.begin(artifact.teacher_dim)
        keep(replacement, note_for(artifact, "document"))
        half = next(index.scan(batch=ROWS // 2))
        replacement.write(half, new[: ROWS // 2])
        answer = until_found(client, query, "head", "mixed")
        moved = iter(best(new, head, rows=range(ROWS // 2)))
        assert ids_of(answer) == [next(moved) if row < ROWS // 2 else row for row in by_old]
        assert "half-moved" in answer["reason"]
        assert "half-moved" in client.get("/search").json()["index"]["mixed"]
        assert ids_of(ask(client, query, "student")) == by_old
        assert all(hit["payload"]["topic"] == "b" for hit in ask(client, query, filter={"topic": "b"})["hits"])

        # every row has one, and applications still read the old
        copy_rows(index, artifact, "document")
        assert (ids_of(answer := ask(client, query)), answer["route"]) == (by_new, "mixed")

        replacement.cut_over()
        answer = until_found(client, query, "head", "head")
        assert (ids_of(answer), answer["reason"]) == (by_new, None)
        assert ids_of(ask(client, query, "student")) == by_old  # the old vectors are kept
        assert ask(client, query, "cascade")["route"] == "cascade"

        replacement.roll_back()
        assert ids_of(until_found(client, query, "head", "mixed")) == by_new
        replacement.cut_over()
        replacement.drop_old()
        assert ids_of(until_found(client, query, "head", "head")) == by_new
        assert ask(client, query, "student")["reason"] is not None  # being embedded
        assert ids_of(until_found(client, query, "student", "student")) == by_old


def test_where_both_models_have_one_width_a_cut_over_is_seen_at_once(
    aligned, postgres, connection, table, demo, query, monkeypatch
):
    """The engine would take the query of either model, and find nonsense by the wrong one."""
    monkeypatch.setattr(spaces, "LOOK_EVERY_S", 0.0)
    torch.manual_seed(0)
    identity = aligned.artifact.student_identity
    parts = {"query_head": LinearHead(256, 256).eval().requires_grad_(False)}
    same = AlignedEmbedder(Artifact(parts, identity, None), aligned.student)
    student, head, old, new = exact(demo, same)
    put_table(connection, table, old)
    with (
        running(searching(same, postgres.url, table)) as url,
        Client(base_url=url) as client,
        PgvectorIndex(table, postgres.url) as index,
    ):
        replacement = index.replacement()
        copy_rows(index, same.artifact, "document")
        keep(replacement, note_for(same.artifact, "document"))
        assert ids_of(until_found(client, query, "student", "student")) == best(old, student)
        monkeypatch.setattr(spaces, "LOOK_EVERY_S", 3600.0)
        for step in (replacement.cut_over, replacement.roll_back, replacement.cut_over):
            step()
            assert ids_of(ask(client, query)) == best(new, head)
            assert ids_of(ask(client, query, "student")) == best(old, student)


def test_an_index_of_neither_model_is_refused_in_words(aligned, postgres, connection, table):
    put_table(connection, table, np.ones((5, 7)))
    service = searching(aligned, postgres.url, table)
    with running(service) as url, Client(base_url=url) as client:
        assert client.post("/search", json={"query": "a"}).status_code == 503
        assert client.get("/search").status_code == 503
