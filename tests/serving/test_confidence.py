"""How sure the head is, in a header; and the teacher for queries of which it is not."""

import asyncio
import threading

import numpy as np
import pytest
from odd_students import OddStudent, odd_artifact
from waiting import HANG_S

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import ArtifactError, ConfigError, EmbedderError
from alignkit.serving.answers import Answerer
from alignkit.serving.service import MOST_CONFIDENCES, Service

SURE, UNSURE = "a", "a very long and doubtful query"


class Teacher:
    """Gives one axis."""

    def __init__(self, dim=6, broken=False):
        self.dim, self.broken, self.asked = dim, broken, []

    def identity(self, role="document"):
        return {"backend": "odd-teacher"}

    def embed(self, texts, role="document"):
        self.asked.append((list(texts), role))
        if self.broken:
            raise EmbedderError("the teacher is away")
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        vectors[:, 2] = 3.0
        yield EmbeddedBatch(np.arange(len(texts)), vectors, {})


@pytest.fixture
def aligned():
    return AlignedEmbedder(odd_artifact(confidence=True), OddStudent())


def embeddings(ask, service, texts):
    return ask(service, "POST", "/v1/embeddings", json={"input": texts})


def test_header_has_a_figure_a_text(aligned, ask):
    response = embeddings(ask, Service(Answerer(aligned)), [SURE, UNSURE])
    first, second = map(float, response.headers["x-alignkit-confidence"].split(","))
    assert first == pytest.approx(np.exp(-0.1), abs=1e-3)
    assert second == pytest.approx(np.exp(-len(UNSURE) / 10), abs=1e-3)
    assert "x-alignkit-teacher-texts" not in response.headers


def test_header_is_left_out_where_it_would_grow_too_long(aligned, ask):
    service = Service(Answerer(aligned))
    response = embeddings(ask, service, [SURE] * MOST_CONFIDENCES)
    assert len(response.headers["x-alignkit-confidence"]) < 8000
    assert "x-alignkit-confidence" not in embeddings(ask, service, [SURE] * (MOST_CONFIDENCES + 1)).headers


def test_the_unsure_go_to_the_teacher(aligned, ask):
    teacher = Teacher()
    service = Service(Answerer(aligned, teacher, fallback_below=0.5), fallback_timeout_s=HANG_S)
    response = embeddings(ask, service, [SURE, UNSURE])
    vectors = [entry["embedding"] for entry in response.json()["data"]]
    np.testing.assert_allclose(vectors[0], aligned.encode([SURE])[0], atol=1e-6)
    assert vectors[1] == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-7)
    assert teacher.asked == [([UNSURE], "query")]
    assert response.headers["x-alignkit-teacher-texts"] == "1"
    assert b"alignkit_teacher_texts_total 1.0" in service.metrics.exposition()[0]
    embeddings(ask, service, [SURE])
    assert len(teacher.asked) == 1


def test_without_its_teacher_a_query_is_answered_all_the_same(aligned, ask, caplog):
    service = Service(Answerer(aligned, Teacher(broken=True), fallback_below=0.5))
    response = embeddings(ask, service, [UNSURE])
    np.testing.assert_allclose(response.json()["data"][0]["embedding"], aligned.encode([UNSURE])[0], atol=1e-6)
    assert "the teacher gave no vectors (EmbedderError)" in caplog.text
    # its words may hold texts
    assert "the teacher is away" not in caplog.text


def test_after_a_failure_the_teacher_is_left_alone_for_a_while(aligned, ask, monkeypatch):
    teacher = Teacher(broken=True)
    service = Service(Answerer(aligned, teacher, fallback_below=0.5), fallback_timeout_s=HANG_S)
    for _ in range(3):
        assert "x-alignkit-teacher-texts" not in embeddings(ask, service, [UNSURE]).headers
    assert len(teacher.asked) == 1
    teacher.broken = False
    service.teacher._paused_until = 0.0
    assert embeddings(ask, service, [UNSURE]).headers["x-alignkit-teacher-texts"] == "1"


class HangingTeacher(Teacher):
    """Answers once the gate is open."""

    def __init__(self):
        super().__init__()
        self.gate, self.called = threading.Event(), threading.Event()

    def embed(self, texts, role="document"):
        self.called.set()
        assert self.gate.wait(HANG_S)
        return super().embed(texts, role)


def test_a_teacher_that_takes_long_holds_up_the_sure_not_at_all(aligned):
    teacher = HangingTeacher()
    service = Service(Answerer(aligned, teacher, fallback_below=0.5), fallback_timeout_s=HANG_S)

    async def scenario():
        unsure = asyncio.create_task(service.embed([UNSURE], "/v1/embeddings"))
        while not teacher.called.is_set():
            await asyncio.sleep(0.001)
        for _ in range(20):
            await service.embed([SURE], "/v1/embeddings")
        assert not unsure.done()
        teacher.gate.set()
        assert (await unsure).teacher_texts == 1
        await service.close()

    asyncio.run(scenario())


def test_a_teacher_that_hangs_holds_up_the_unsure_for_a_while_only(aligned):
    teacher = HangingTeacher()
    service = Service(Answerer(aligned, teacher, fallback_below=0.5), fallback_timeout_s=0.2)

    async def scenario():
        answer = await service.embed([UNSURE], "/v1/embeddings")
        np.testing.assert_allclose(answer.vectors, aligned.encode([UNSURE]), atol=1e-6)
        assert answer.teacher_texts == 0
        await service.close()

    asyncio.run(scenario())
    teacher.gate.set()


def test_what_cannot_work_is_refused_at_the_start(aligned):
    with pytest.raises(ConfigError, match="confidence estimate, and this one has none"):
        Answerer(AlignedEmbedder(odd_artifact(), OddStudent()), Teacher())
    with pytest.raises(ArtifactError, match="7-d vectors, this head makes 6-d"):
        Answerer(aligned, Teacher(dim=7))
    with pytest.raises(ConfigError, match="fallback_below=1.5"):
        Answerer(aligned, Teacher(), 1.5)
    other = Teacher()
    other.identity = lambda role="document": {"backend": "another"}
    with pytest.raises(ArtifactError, match="trained with another teacher"):
        Answerer(aligned, other)
