"""`POST /search`: what a query finds by each route, with filters, and what a client is told."""

import re
import threading
import uuid

import numpy as np
import pytest
import torch
from running_server import running
from searched import ROWS, RecordedTeacher, best, ids_of, put_table, searching, table_of
from waiting import Client, joined, post, until

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.pairs.demo import load_demo
from alignkit.sentences.query_logs import LoggedBy, logged_rows, row_files
from alignkit.serving.answers import Answerer
from alignkit.serving.log_folder import LogFolder
from alignkit.serving.query_log import QueryLog
from alignkit.serving.service import Service


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture(scope="module")
def docs(postgres, demo):
    """A table with the teacher's vectors."""
    with table_of(postgres, demo.train.teacher) as name:
        yield name


@pytest.fixture(scope="module")
def teacher(demo):
    return RecordedTeacher(demo)


@pytest.fixture(scope="module")
def client(aligned, postgres, docs, teacher):
    with running(searching(aligned, postgres.url, docs, teacher)) as url, Client(base_url=url) as opened:
        yield opened


@pytest.fixture(scope="module")
def query(demo):
    return demo.test.texts[3]


@pytest.fixture(scope="module")
def expected(aligned, demo, query):
    """The query's vectors, by the exact models."""
    student = np.asarray(demo.test.student[3], dtype=np.float32)
    return {
        "student": student,
        "head": aligned.align(student[None])[0],
        "teacher": np.asarray(demo.test.teacher[3], dtype=np.float32),
    }


def find(client, query, **asked):
    answer = client.post("/search", json={"query": query, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_heads_vector_finds_rows_with_their_texts_and_payload(client, demo, query, expected):
    answer = find(client, query, k=7)
    assert (answer["route"], answer["reason"], answer["confidence"]) == ("head", None, None)
    assert ids_of(answer) == best(demo.train.teacher, expected["head"], 7)
    first = answer["hits"][0]
    row = first["id"]
    assert first["text"] == demo.train.texts[row]
    assert first["payload"] == {"year": 2000 + row % 20, "topic": "ab"[row % 2]}
    assert first["score"] == pytest.approx(float(np.dot(demo.train.teacher[row], expected["head"])), abs=1e-3)
    assert 0 < answer["ms"]["search"] < answer["ms"]["total"] and answer["ms"]["embed"] > 0
    assert len(find(client, query)["hits"]) == 10


def test_the_teachers_vector_finds_what_the_teacher_finds_and_is_asked_for_once(client, demo, query, expected, teacher):
    teacher.asked.clear()
    for _ in range(2):
        answer = find(client, query, route="teacher")
        assert answer["route"] == "teacher" and answer["reason"] is None
        assert ids_of(answer) == best(demo.train.teacher, expected["teacher"])
    assert teacher.asked in ([query], [])  # another test may have asked before


def test_an_answer_says_whether_its_teachers_vector_was_kept(client, demo):
    """Its time for embedding would be taken for the teacher's."""
    answers = [find(client, demo.test.texts[9], route=route) for route in ("cascade", "teacher", "head")]
    assert [answer["kept"] for answer in answers] == [False, True, False]


def test_the_cascade_puts_what_the_head_finds_in_the_teachers_order(client, demo, query, expected):
    answer = find(client, query, route="cascade", k=6)
    found = best(demo.train.teacher, expected["head"], 20)
    assert answer["route"] == "cascade"
    assert ids_of(answer) == best(demo.train.teacher, expected["teacher"], 6, rows=found)
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_the_students_own_vectors_are_made_once_somebody_wants_them(client, demo, query, expected):
    client.get("/search")
    answer = until(lambda: (found := find(client, query, route="student"))["route"] == "student" and found)
    assert ids_of(answer) == best(demo.train.student, expected["student"]) and answer["reason"] is None
    passing = [row for row in range(ROWS) if row % 2]
    answer = find(client, query, route="student", filter={"topic": "b"})
    assert ids_of(answer) == best(demo.train.student, expected["student"], rows=passing)


@pytest.mark.parametrize("route", ["head", "cascade", "teacher"])
def test_a_filter_goes_to_the_engine(client, demo, query, expected, route):
    where = {"topic": "a", "year": {"gte": 2008, "ne": 2010}}
    passing = [row for row in range(ROWS) if row % 2 == 0 and row % 20 >= 8 and row % 20 != 10]
    answer = find(client, query, route=route, filter=where, k=8)
    vector = expected["head" if route == "head" else "teacher"]
    among = best(demo.train.teacher, expected["head"], 20, rows=passing) if route == "cascade" else passing
    assert ids_of(answer) == best(demo.train.teacher, vector, 8, rows=among)
    assert find(client, query, route=route, filter={"topic": []})["hits"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "query must be a text, got null"),
        ({"query": 5}, "query must be a text, got a number"),
        ({"query": " "}, "query[0]: "),
        ({"query": "a", "k": 0}, "k must be a whole number from 1 to 1000"),
        ({"query": "a", "k": True}, "k must be"),
        ({"query": "a", "k": 1001}, "k must be"),
        ({"query": "a", "route": "fast"}, "route must be one of head, cascade, teacher, student"),
        ({"query": "a", "filter": "topic = 'a'"}, "filter must be an object, got a text"),
        ({"query": "a", "filters": {"topic": "a"}}, "unknown field; expected query, k, filter, route"),
        ({"query": "a", "filter": {"nonesuch": 1}}, "has no field 'nonesuch'; its fields are: id, body, year, topic"),
        ({"query": "a", "filter": {"year": "soon"}}, "field 'year' takes numbers, got a text"),
        ({"query": "a", "filter": {"year": {"like": 1}}}, "expected comparisons gt, gte, lt, lte, ne; got like"),
        ({"query": "a", "filter": {"id": 2**63}}, "out of range for type bigint"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(client, body, said):
    answer = client.post("/search", json=body)
    assert answer.status_code == 400 and said in answer.json()["error"]["message"]
    assert find(client, "a", k=1)["hits"]  # the next one is answered


def test_what_there_is(client, docs):
    answer = client.get("/search").json()
    assert {name: answer["routes"][name] for name in ("head", "cascade", "teacher")} == dict.fromkeys(
        ("head", "cascade", "teacher")
    )
    assert answer["index"] == {
        "place": f"table public.{docs}, column embedding",
        "rows": ROWS,
        "dim": 384,
        "metric": "cosine",
        "stage": "untouched",
        "mixed": None,
    }
    assert answer["fields"] == ["id", "body", "year", "topic"] and answer["candidates"] == 20


def test_searches_are_counted_by_route(client, query):
    find(client, query)
    find(client, query, route="teacher")
    text = client.get("/metrics").text
    for route in ("head", "teacher"):
        assert float(re.search(rf'alignkit_searches_total{{route="{route}"}} (\S+)', text)[1]) >= 1
        for part in ("embed", "index", "total"):
            assert f'alignkit_search_seconds_count{{part="{part}",route="{route}"}}' in text
    assert query not in text


def test_many_clients_at_once(client, demo):
    """More than there are connections; each gets the hits of its own query."""
    expected = {text: find(client, text, k=3) for text in demo.test.texts[:8]}
    wrong = []

    def work(text):
        for _ in range(10):
            if ids_of(find(client, text, k=3)) != ids_of(expected[text]):
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(text,)) for text in expected]
    for thread in threads:
        thread.start()
    joined(*threads)
    assert not wrong


def test_without_an_index_a_client_is_told_what_the_operator_can_do(aligned, ask):
    service = Service(Answerer(aligned))
    about = ask(service, "GET", "/search").json()
    assert about["index"] is None and all("start with index=ENGINE" in why for why in about["routes"].values())
    answer = ask(service, "POST", "/search", json={"query": "a"})
    assert answer.status_code == 404 and "start with index=ENGINE" in answer.json()["error"]["message"]


def test_a_token_is_needed_where_the_server_has_one(aligned, postgres, docs):
    with running(searching(aligned, postgres.url, docs, token="right")) as url, Client(base_url=url) as client:
        assert client.post("/search", json={"query": "a"}).status_code == client.get("/search").status_code == 401
        client.headers["authorization"] = "Bearer right"
        assert find(client, "a")["hits"]


def test_without_a_teacher_its_routes_are_the_heads_and_say_so(aligned, postgres, docs, query):
    with running(searching(aligned, postgres.url, docs)) as url, Client(base_url=url) as client:
        by_head = find(client, query)
        for route in ("teacher", "cascade"):
            answer = find(client, query, route=route)
            assert (ids_of(answer), answer["route"]) == (ids_of(by_head), "head")
            assert "no teacher is served" in answer["reason"]
            assert "no teacher is served" in client.get("/search").json()["routes"][route]


def test_a_teacher_that_fails_costs_no_search(aligned, postgres, docs, demo, query, caplog):
    teacher = RecordedTeacher(demo)
    teacher.broken = True
    with running(searching(aligned, postgres.url, docs, teacher)) as url, Client(base_url=url) as client:
        for route in ("teacher", "cascade"):
            answer = find(client, query, route=route)
            assert answer["route"] == "head" and answer["hits"] and answer["reason"].startswith("the teacher ")
        assert "not asked for a while" in client.get("/search").json()["routes"]["teacher"]
    assert len(teacher.asked) == 1 and "secret" not in caplog.text


def test_a_student_that_fails_on_the_texts_of_the_index_is_told(aligned, postgres, docs, monkeypatch, caplog):
    def fail(self, texts):
        raise RuntimeError("secret")

    monkeypatch.setattr(Answerer, "student_documents", fail)
    with running(searching(aligned, postgres.url, docs)) as url, Client(base_url=url) as client:
        until(lambda: "could not be embedded" in client.get("/search").json()["routes"]["student"])
    assert "RuntimeError" in caplog.text and "secret" not in caplog.text


class Unsure(ConfidenceEstimate):
    def forward(self, student):
        return torch.full((len(student),), 0.3)


def test_a_query_that_the_head_is_unsure_of_goes_to_the_teacher(
    aligned, artifact, postgres, docs, demo, query, expected
):
    parts = {**artifact.parts, "confidence": Unsure(artifact.student_dim).eval()}
    unsure = AlignedEmbedder(Artifact(parts, artifact.student_identity, artifact.teacher_identity), aligned.student)
    teacher = RecordedTeacher(demo)
    with running(searching(unsure, postgres.url, docs, teacher, below=0.5)) as url, Client(base_url=url) as client:
        answer = find(client, query)
        assert (answer["route"], answer["confidence"]) == ("teacher", 0.3)
        assert answer["reason"] == "the head's confidence, 0.30, is below 0.5"
        assert ids_of(answer) == best(demo.train.teacher, expected["teacher"])
        teacher.broken = True
        answer = find(client, demo.test.texts[4])
        assert answer["route"] == "head" and "below 0.5, but the teacher gave no vector" in answer["reason"]


def test_an_index_that_is_gone_is_no_fault_of_the_filter(aligned, postgres, connection, table, demo):
    put_table(connection, table, demo.train.teacher)
    with running(searching(aligned, postgres.url, table)) as url, Client(base_url=url) as client:
        find(client, "a", filter={"year": 2000})
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        for asked in ({"filter": {"year": 2000}}, {}):
            answer = client.post("/search", json={"query": "a", **asked})
            assert answer.status_code == 503 and table not in answer.text
        connection.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
        assert find(client, "a", filter={"year": 2000})["hits"]


def test_a_server_that_comes_back_is_searched_again(aligned, postgres, docs, connection, query, caplog):
    """While PostgreSQL lets nobody in, clients are told so at once; then everything is as before."""
    role = f"r{uuid.uuid4().hex[:8]}"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'sesame'")
    connection.execute(f"GRANT SELECT ON {docs} TO {role}")
    address = replace_user(postgres.url, f"{role}:sesame")
    out = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    try:
        with running(searching(aligned, address, docs)) as url, Client(base_url=url) as client:
            expected = find(client, query)["hits"]
            connection.execute(out)
            assert find(client, query)["hits"] == expected  # a lost connection alone is nobody's concern
            connection.execute(f"ALTER ROLE {role} NOLOGIN")
            connection.execute(out)
            for _ in range(3):
                answer = client.post("/search", json={"query": query})
                assert answer.status_code == 503 and "retry-after" in answer.headers
                assert "the index behind this server does not answer" in answer.json()["error"]["message"]
            assert client.get("/search").status_code == 503
            connection.execute(f"ALTER ROLE {role} LOGIN")
            assert find(client, query)["hits"] == expected
    finally:
        connection.execute(out)
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")
    assert caplog.text.count("the index failed: PostgreSQL") == 1 and "the index answers again" in caplog.text
    assert "sesame" not in caplog.text and "Traceback" not in caplog.text


def replace_user(url, user):
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.rpartition('@')[2]}"


def test_searches_are_logged_with_the_route_that_was_used(aligned, postgres, docs, query, tmp_path):
    service = searching(aligned, postgres.url, docs)
    by = LoggedBy("0011aabb", None, service.head_digest, None, 1.0, "")
    service.keep_queries(QueryLog(LogFolder(tmp_path, by, 1_000_000, 30)))
    with running(service) as url:
        for route in ("head", "teacher", "best"):
            post(f"{url}/search", json={"query": query, "route": route})
    found = [row for path in row_files(tmp_path) for _, row in logged_rows(path)]
    # there is no teacher, so the head found both; what is refused is no query
    assert [(row["text"], row["path"], row["route"]) for row in found] == [(query, "/search", "head")] * 2
