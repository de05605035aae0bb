"""A student that is replaced while it is served: its vectors would be wrong without a sign, so there are none."""

import asyncio
import contextlib
import json
import logging
import socket
import threading

import pytest
import torch
from fake_server import DIGEST, FakeServer, raw_rows
from odd_students import OddStudent, odd_artifact
from waiting import HANG_S, get, until
from waiting import post as send

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.errors import EmbedderError
from alignkit.heads.linear import LinearHead
from alignkit.serving import readiness, watch
from alignkit.serving.answers import Answerer
from alignkit.serving.canary import TEXT
from alignkit.serving.service import Service
from alignkit.serving.watch import Watch

OTHER = "f" * 64


class Upstream(FakeServer):
    """Can vanish with its connections and come back at the same port."""

    def __init__(self, port=0, **settings):
        self.connections = []
        super().__init__(**settings)
        if port:
            self.socket.close()
            self.socket = socket.create_server(("127.0.0.1", port))
            self.server_address = self.socket.getsockname()

    def get_request(self):
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def __exit__(self, *_):
        # first of all it takes no more connections: one that came in between would be answered for ever
        super().__exit__()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watch, "EVERY_S", 0.1)
    monkeypatch.setattr(watch, "WRONG_EVERY_S", 0.1)
    monkeypatch.setattr(readiness, "FIRST_WAIT_S", 0.05)


@pytest.fixture
def patient(monkeypatch):
    """A look is waited for, however busy the machine is."""
    monkeypatch.setattr(watch, "LONGEST_LOOK_S", HANG_S)


@pytest.fixture
def looks(monkeypatch):
    """Grows with every look that came to an end."""
    ended, take = [], Watch._take
    monkeypatch.setattr(Watch, "_take", lambda self, *given: (take(self, *given), ended.append(self)))
    return ended


def several_more(looks):
    before = len(looks)
    until(lambda: len(looks) >= before + 3)


def head_of(student, bare=False):
    torch.manual_seed(0)
    head = LinearHead(student.dim, 6).eval().requires_grad_(False)
    return Artifact({"query_head": head}, None if bare else student.identity("query"), None)


def service_of(student, bare=False, **settings):
    return Service(Answerer(AlignedEmbedder(head_of(student, bare), student)), **settings)


def post(url, text="a"):
    return send(f"{url}/v1/embeddings", json={"input": text})


def ready(url):
    return get(f"{url}/ready")


@pytest.mark.parametrize("bare", [False, True])
def test_no_vectors_of_a_replaced_student_until_it_is_back(bare, quick, patient, serve, caplog):
    with Upstream() as upstream, caplog.at_level(logging.INFO):
        student = OllamaEmbedder("tiny", upstream.url)
        with serve(service_of(student, bare)) as url:
            before = post(url).json()
            upstream.digests["tiny:latest"] = OTHER
            until(lambda: ready(url).status_code == 503)
            assert "the student was replaced" in ready(url).json()["status"]
            asked = len(upstream.requests)
            for path in ("/v1/embeddings", "/api/embed"):
                refused = send(f"{url}{path}", json={"input": "a"})
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
                assert "the model behind this server was replaced" in refused.text
                # how to mend it is for the operator
                assert "allow_student_mismatch" not in refused.text
                assert OTHER[:12] not in refused.text
            assert len(upstream.requests) == asked
            del upstream.digests["tiny:latest"]
            until(lambda: ready(url).status_code == 200)
            assert post(url).json() == before
        student.close()
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("alignkit"))
    assert f"the student was replaced (digest: expected '{DIGEST[:12]}', got '{OTHER[:12]}')" in log
    assert "allow_student_mismatch=true to go on" in log
    assert log.count("was replaced") == 1
    assert "the original one again" in log


def test_the_operator_can_say_go_on(quick, serve, caplog):
    with Upstream() as upstream:
        student = OllamaEmbedder("tiny", upstream.url)
        with serve(service_of(student, allow_student_mismatch=True)) as url:
            upstream.digests["tiny:latest"] = OTHER
            until(lambda: "was replaced" in caplog.text)
            assert ready(url).status_code == post(url).status_code == 200
        student.close()
    assert "going on, because allow_student_mismatch=true" in caplog.text


@pytest.mark.parametrize("make", [OllamaEmbedder, OpenAIEmbedder])
def test_the_first_answer_of_a_server_that_came_back_with_another_model_is_refused(make, patient, serve):
    def facts(size):
        return {"data": [{"id": "tiny", "meta": {"n_params": 1, "size": size}}]}

    with Upstream() as upstream:
        upstream.v1_models = facts(1)
        port = upstream.server_address[1]
        student = make("tiny", upstream.url + ("/v1" if make is OpenAIEmbedder else ""), retries=1, retry_wait_s=0.01)
        with serve(service_of(student)) as url:
            assert post(url).status_code == 200
            upstream.__exit__()
            with Upstream(port) as other:
                other.v1_models = facts(2)
                other.digests["tiny:latest"] = OTHER
                # nobody asked anything in between, and the next look of its own would be half a minute off
                answer = post(url)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_replaced")
                assert ready(url).status_code == 503
        student.close()


@pytest.mark.parametrize("make", [OllamaEmbedder, OpenAIEmbedder])
def test_a_server_that_came_back_with_other_flags_is_refused_though_it_tells_of_no_change(
    make, quick, patient, serve, caplog
):
    """Another version, pooling or context: the digests are the same, the vectors are not."""
    with Upstream() as upstream:
        port = upstream.server_address[1]
        student = make("tiny", upstream.url + ("/v1" if make is OpenAIEmbedder else ""), retries=1, retry_wait_s=0.01)
        with serve(service_of(student)) as url:
            before = post(url).json()
            until(lambda: [TEXT] in upstream.requests)
            upstream.__exit__()
            with Upstream(port) as other:
                other.weights = "other flags"
                assert post(url).json()["error"]["code"] == "model_replaced"
                assert ready(url).status_code == 503
                other.__exit__()
            with Upstream(port):
                until(lambda: ready(url).status_code == 200)
                assert post(url).json() == before
        student.close()
    assert "the student was replaced (it embeds a text differently than at the start, cosine" in caplog.text


def test_the_same_model_on_a_server_that_came_back_goes_on(quick, serve):
    with Upstream() as upstream:
        port = upstream.server_address[1]
        student = OllamaEmbedder("tiny", upstream.url, retries=0)
        with serve(service_of(student)) as url:
            before = post(url).json()
            upstream.__exit__()
            gone = post(url)
            assert gone.status_code == 502
            assert ready(url).status_code == 503
            with Upstream(port):
                until(lambda: ready(url).status_code == 200)
                assert post(url).json() == before
        student.close()


def test_a_server_that_stops_telling_digests_stays_ready(quick, looks, serve, caplog):
    with Upstream() as upstream:
        student = OllamaEmbedder("tiny", upstream.url, retries=0)
        with serve(service_of(student)) as url:
            upstream.models = ()  # /api/tags is 404 from now on

            upstream.always = raw_rows(json.dumps)  # it embeds as before
            until(lambda: "cannot tell whether" in caplog.text)
            several_more(looks)
            assert ready(url).status_code == 200
            assert post(url).status_code == 200
        student.close()
    assert caplog.text.count("cannot tell whether") == 1


def test_a_server_without_digests_is_no_reason_to_refuse(quick, looks, serve):
    with Upstream() as upstream:
        student = OpenAIEmbedder("tiny", f"{upstream.url}/v1")
        with serve(service_of(student)) as url:
            several_more(looks)
            assert ready(url).status_code == post(url).status_code == 200
        student.close()


def test_a_replaced_fallback_teacher_is_left_out(quick, patient, serve, caplog):
    with Upstream(dim=6) as upstream:
        teacher = OllamaEmbedder("tiny", upstream.url)
        artifact = odd_artifact(confidence=True)
        artifact.teacher_identity.clear()
        artifact.teacher_identity.update(teacher.identity("query"))
        service = Service(Answerer(AlignedEmbedder(artifact, OddStudent()), teacher, 1.0), fallback_timeout_s=HANG_S)
        with serve(service) as url:
            assert post(url).headers["x-alignkit-teacher-texts"] == "1"
            upstream.digests["tiny:latest"] = OTHER
            until(lambda: "the teacher was replaced" in caplog.text)
            answer = post(url)
            assert (answer.status_code, answer.headers.get("x-alignkit-teacher-texts")) == (200, None)
            assert ready(url).status_code == 200
            del upstream.digests["tiny:latest"]
            until(lambda: "the teacher is the original one again" in caplog.text)
            assert post(url).headers["x-alignkit-teacher-texts"] == "1"
        teacher.close()


def test_a_question_that_hangs_delays_no_answer(monkeypatch, serve):
    monkeypatch.setattr(watch, "EVERY_S", 0.05)
    asked, released = [], threading.Event()

    class Slow(OddStudent):
        def current_identity(self, role):
            asked.append(role)
            assert released.wait(2 * HANG_S)
            return self.identity(role)

    student = Slow()
    with serve(Service(Answerer(AlignedEmbedder(odd_artifact(), student)))) as url:
        until(lambda: asked)
        for _ in range(20):
            assert post(url).status_code == 200
        # one question at a time, however long it takes
        assert len(asked) == 1
        released.set()


def test_one_look_for_all_who_wait(patient):
    opened, asked = [1], []

    def changes():
        asked.append(1)
        return []

    async def scenario():
        one = Watch("the student", changes, lambda: opened[0], "")
        await asyncio.gather(*(one.after_answer() for _ in range(50)))
        assert len(asked) == 1
        await one.after_answer()
        assert len(asked) == 1
        opened[0] = 2
        await asyncio.gather(*(one.after_answer() for _ in range(50)))
        assert len(asked) == 2
        one.close()

    asyncio.run(scenario())


def answering(*answers):
    """What a watch asks: gives one answer after another, and raises those that are errors."""
    left = list(answers)

    def changes():
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return changes


def test_a_look_that_failed_tells_nothing_of_the_connections_it_saw(patient):
    changes = answering(EmbedderError("no answer"), ["digest: expected 'a', got 'b'"])

    async def scenario():
        one = Watch("the student", changes, lambda: 1, "")
        await one.look_briefly()
        assert not one.replaced
        await one.after_answer()
        one.close()
        return one.replaced

    assert asyncio.run(scenario())


def test_an_answer_waits_for_a_look_that_began_after_its_connection_was_opened(patient):
    begun, released = threading.Event(), threading.Event()

    def changes():
        begun.set()
        assert released.wait(HANG_S)
        return ["digest: expected 'a', got 'b'"]

    async def scenario():
        one = Watch("the student", changes, lambda: 1, "")
        look = asyncio.create_task(one.look_briefly())
        while not begun.is_set():
            await asyncio.sleep(0)
        answer = asyncio.create_task(one.after_answer())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not answer.done()
        released.set()
        await asyncio.gather(look, answer)
        one.close()
        return one.replaced

    assert asyncio.run(scenario())


def test_a_connection_that_is_opened_during_a_look_is_not_covered_by_it(patient):
    opened, asked = [1], []

    def changes():
        asked.append(1)
        if len(asked) == 1:
            opened[0] = 2
        return []

    async def scenario():
        one = Watch("the student", changes, lambda: opened[0], "")
        await one.look_briefly()
        await one.after_answer()
        assert len(asked) == 2
        await one.after_answer()
        assert len(asked) == 2
        one.close()

    asyncio.run(scenario())


def test_where_the_server_cannot_be_asked_one_answer_tries_for_all(patient):
    opened, asked = [1], []

    def changes():
        asked.append(1)
        raise EmbedderError("no answer")

    async def scenario():
        one = Watch("the student", changes, lambda: opened[0], "")
        await one.after_answer()
        assert len(asked) == 2
        for _ in range(10):
            await one.after_answer()
        assert len(asked) == 2
        opened[0] = 2
        await one.after_answer()
        assert len(asked) == 4
        one.close()

    asyncio.run(scenario())


def test_where_a_look_hangs_one_answer_waits_for_all(monkeypatch):
    released = threading.Event()

    async def scenario():
        one = Watch("the student", lambda: [] if released.wait(HANG_S) else ["it hung"], lambda: 1, "")
        monkeypatch.setattr(watch, "LONGEST_LOOK_S", 0.01)
        await one.after_answer()
        monkeypatch.setattr(watch, "LONGEST_LOOK_S", HANG_S)
        waits = asyncio.create_task(one.after_answer())
        for _ in range(10):
            await asyncio.sleep(0)
        assert waits.done()
        released.set()
        await one.look_briefly()
        one.close()

    asyncio.run(scenario())


def test_what_cannot_be_told_changes_nothing(patient):
    changes = answering(["digest: expected 'a', got 'b'"], EmbedderError("no answer"), [])

    async def scenario():
        one = Watch("the student", changes, lambda: 0, "")
        found = []
        for _ in range(3):
            await one.look_briefly()
            found.append(one.replaced)
        one.close()
        return found

    assert asyncio.run(scenario()) == [True, True, False]
