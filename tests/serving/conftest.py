"""A served head: the static student and a linear head, both real, in this process; and students that misbehave."""

import asyncio

import numpy as np
import pytest
import torch

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

import httpx  # noqa: E402
from running_server import running  # noqa: E402

from alignkit.aligned import AlignedEmbedder  # noqa: E402
from alignkit.artifact import Artifact  # noqa: E402
from alignkit.heads.linear import LinearHead  # noqa: E402
from alignkit.heads.streaming import TensorBatches  # noqa: E402
from alignkit.pairs.demo import load_demo  # noqa: E402
from alignkit.serving.answers import Answerer  # noqa: E402
from alignkit.serving.app import create_app  # noqa: E402
from alignkit.serving.service import Service  # noqa: E402


@pytest.fixture(scope="session")
def artifact():
    """A linear head from the static student to the teacher, solved on 500 real pairs."""
    demo = load_demo("static")
    student, teacher = (
        torch.from_numpy(np.array(part[:500], dtype=np.float32)) for part in (demo.train.student, demo.train.teacher)
    )
    head = LinearHead(student.shape[1], teacher.shape[1])
    head.solve(TensorBatches(student, teacher))
    parts = {"query_head": head.eval().requires_grad_(False)}
    return Artifact(parts, demo.origin.student_identity, demo.origin.teacher_identity)


@pytest.fixture(scope="session")
def aligned(artifact):
    pytest.importorskip("wordllama")
    from alignkit.embedders.static import StaticEmbedder

    return AlignedEmbedder(artifact, StaticEmbedder())


@pytest.fixture
def service(aligned):
    return Service(Answerer(aligned))


@pytest.fixture
def ask():
    """Send one request to a service in this process; returns the response."""

    def send(service, method, path, **arguments):
        async def once():
            transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(once())

    return send


@pytest.fixture
def serve():
    return running
