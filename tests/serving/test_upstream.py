"""Models that hang, fail or repeat what they were sent: it costs nobody more than it must."""

import concurrent.futures
import logging
import threading

import numpy as np
import pytest
import torch
from fake_server import FakeServer
from odd_students import OddStudent, answer_within, odd_artifact
from waiting import HANG_S, get, until
from waiting import post as send

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.errors import ConfigError
from alignkit.heads.linear import LinearHead
from alignkit.serving import readiness
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Batching, Limits
from alignkit.serving.service import Service


class HangingStudent(OddStudent):
    """Never answers a text that starts with `hang`, as long as it is not released."""

    def __init__(self, hangs=("hang",)):
        super().__init__()
        self.hangs = hangs
        self.released = threading.Event()

    def embed(self, texts, role="document"):
        if texts[0].startswith(self.hangs):
            assert self.released.wait(2 * HANG_S)
        return super().embed(texts, role)


def service_of(student, **limits):
    return Service(Answerer(AlignedEmbedder(odd_artifact(), student)), limits=Limits(**limits))


def post(url, text):
    return send(f"{url}/v1/embeddings", json={"input": text})


@pytest.mark.parametrize("code", [400, 401, 429, 500, 503])
def test_what_an_upstream_repeats_reaches_neither_the_log_nor_other_clients(code, serve, caplog):
    with FakeServer() as upstream:
        student = OpenAIEmbedder("tiny", f"{upstream.url}/v1", retries=1, retry_wait_s=0.01, timeout_s=HANG_S)
        torch.manual_seed(0)
        head = LinearHead(student.dim, 6).eval().requires_grad_(False)
        aligned = AlignedEmbedder(Artifact({"query_head": head}, None, None), student)
        service = Service(Answerer(aligned), batching=Batching())
        with caplog.at_level(logging.DEBUG), serve(service) as url, concurrent.futures.ThreadPoolExecutor(5) as pool:

            def fault(handler, texts):
                if texts == ["first"]:  # the others wait meanwhile, and go together
                    until(lambda: service._batcher.queued_texts == 4)
                return handler.send_json(code, {"error": {"message": f"cannot embed {texts}, try again"}})

            upstream.always = fault
            secrets = [f"the secret of client {number}" for number in range(4)]
            first = pool.submit(post, url, "first")
            until(lambda: ["first"] in upstream.requests)
            answers = list(pool.map(lambda text: post(url, text), secrets))
            assert first.result().status_code in (422, 502)
            upstream.always = None
        student.close()
    assert max(map(len, upstream.requests)) == 4
    for secret, answer in zip(secrets, answers, strict=True):
        assert answer.status_code in (422, 502)
        assert not any(other in answer.text for other in secrets if other != secret)
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "secret" not in ours
    assert str(code) in ours or "EmbedderError" in ours


def test_a_call_behind_a_server_that_hangs_costs_only_those_in_it(serve):
    student = HangingStudent()
    student.thread_safe = True
    service = service_of(student)
    with serve(service) as url:
        for _ in range(2):
            answer_within(service, 0.2)
            assert post(url, "hang").status_code == 504
            answer_within(service, HANG_S)
            assert post(url, "fine").status_code == 200
        student.released.set()


def test_a_model_of_this_process_that_hangs_is_called_again_when_it_is_back(serve, monkeypatch):
    monkeypatch.setattr(readiness, "FIRST_WAIT_S", 0.05)
    student = HangingStudent()
    service = service_of(student, answer_timeout_s=0.3)
    with serve(service) as url:
        calls = len(student.calls)
        assert post(url, "hang").status_code == 504
        until(lambda: service._batcher._hung)
        # told at once: after a wait of its own it would be 504
        refused = post(url, "fine")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert "busy with an earlier request that took too long" in refused.json()["error"]["message"]
        assert get(f"{url}/ready").status_code == 503
        assert len(student.calls) == calls
        student.released.set()
        until(lambda: get(f"{url}/ready").status_code == 200)
        until(lambda: post(url, "fine").status_code == 200)


def test_while_the_models_load_the_server_answers_and_can_be_stopped(serve):
    student = HangingStudent(hangs=("ready",))
    service = service_of(student)
    with serve(service, wait_until_ready=False) as url:
        assert get(f"{url}/health").status_code == 200
        assert get(f"{url}/ready").status_code == 503
    # it has ended though the student still hangs
    student.released.set()


def test_stopping_takes_no_longer_than_the_grace(serve):
    student = HangingStudent()
    service = service_of(student)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with serve(service, grace_s=1) as url:
            hangs = pool.submit(post, url, "hang")
            until(lambda: service._batcher._running)
        answer = hangs.result()
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    student.released.set()


def test_ready_comes_back_without_a_clients_help(serve, monkeypatch):
    monkeypatch.setattr(readiness, "FIRST_WAIT_S", 0.05)
    student = OddStudent()
    student.down = True
    service = service_of(student)

    def is_ready():
        return get(f"{url}/ready").status_code == 200

    with serve(service, wait_until_ready=False) as url:
        until(lambda: len(student.calls) > 2)
        assert not is_ready()
        student.down = False
        until(is_ready)
        student.down = True
        assert post(url, "a").status_code == 502
        assert not is_ready()
        student.down = False
        until(is_ready)
        # what is wrong with a text alone says nothing of the student
        assert post(url, "nan").status_code == 422
        assert is_ready()


def test_a_large_request_lets_others_in_between():
    import asyncio

    gate = threading.Event()
    student = OddStudent(gate=gate)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), student)), batching=Batching(max_batch_texts=10))

    async def scenario():
        large = asyncio.create_task(service.embed([f"{i}" for i in range(300)], "/api/embed"))
        while not student.calls:
            await asyncio.sleep(0.001)
        lone = asyncio.create_task(service.embed(["lone"], "/api/embed"))
        await asyncio.sleep(0)
        gate.set()
        await lone
        assert not large.done()
        answer = await large
        await service.close()
        return answer

    answer = asyncio.run(scenario())
    assert max(map(len, student.calls)) <= 10
    expected = AlignedEmbedder(odd_artifact(), OddStudent()).encode([f"{i}" for i in range(300)])
    np.testing.assert_allclose(answer.vectors, expected, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_body_bytes": "8MB"},
        {"max_body_bytes": 1.5},
        {"max_texts": 0},
        {"max_characters": True},
        {"answer_timeout_s": 0},
        {"body_timeout_s": -1},
        {"body_timeout_s": "20"},
        {"answer_timeout_s": float("inf")},
        {"answer_timeout_s": float("nan")},
    ],
)
def test_limits_that_are_none(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)


@pytest.mark.parametrize("wrong", [{"max_batch_texts": 0}, {"max_queue_texts": "10"}, {"wait_ms": -1}])
def test_batches_that_are_none(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Batching(**wrong)


def test_a_text_with_a_nul_is_the_clients_own_fault(serve):
    with FakeServer() as upstream:
        student = OpenAIEmbedder("tiny", f"{upstream.url}/v1")
        head = LinearHead(student.dim, 6).eval().requires_grad_(False)
        service = Service(Answerer(AlignedEmbedder(Artifact({"query_head": head}, None, None), student)))
        with serve(service) as url:
            answer = post(url, ["fine", "a\0b"])
            assert answer.status_code == 422
            assert "input[1]: the text holds a NUL character" in answer.json()["error"]["message"]
        student.close()
