"""What the query log and the gauges cost a server. Run: python -m pytest tests/bench/test_query_log.py -n0 -s

CPU seconds of the whole process with its threads, without HTTP itself, which only adds to what all have in common.
"""

import asyncio
import itertools
import json
import statistics
import time

import pytest

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact
from alignkit.pairs.demo import load_demo
from alignkit.runs.training_sample import TrainingSample
from alignkit.sentences.query_logs import LoggedBy
from alignkit.serving.answers import Answerer
from alignkit.serving.app import create_app
from alignkit.serving.log_folder import LogFolder
from alignkit.serving.query_log import QueryLog
from alignkit.serving.service import Service

pytest.importorskip("starlette")
pytest.importorskip("wordllama")

REQUESTS, AT_ONCE, ROUNDS = 3_000, 32, 9
MOST_OF_LOG, MOST_OF_ALL = 0.02, 0.05
SHARE = 0.01


def request(body):
    scope = {
        "type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive():
        return next(messages)

    async def send(message):
        pass

    return scope, receive, send


async def work(service, bodies):
    """CPU seconds of so many requests, so many of them at once."""
    app, waiting = create_app(service), iter(bodies)
    watching = asyncio.create_task(service.watch())

    async def client():
        for body in waiting:
            await app(*request(body))

    await app(*request(bodies[0]))
    started = time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    took = time.process_time() - started
    watching.cancel()
    return took


def test_a_log_costs_less_than_two_hundredths(static_run, tmp_path):
    from alignkit.embedders.static import StaticEmbedder

    demo = load_demo("static")
    aligned = AlignedEmbedder(load_artifact(static_run), StaticEmbedder())
    texts = itertools.islice(itertools.cycle(demo.test.texts), REQUESTS)
    bodies = [json.dumps({"input": text}).encode() for text in texts]
    sample = TrainingSample.of(demo)

    def served(logged, watched):
        service = Service(Answerer(aligned, keep_student=watched))
        if logged:
            by = LoggedBy("0011aabb", None, "", None, SHARE, "")
            service.keep_queries(QueryLog(LogFolder(tmp_path, by, 100_000_000, 30)))
        if watched:
            service.compare_with(sample)
        return service

    kinds = {"bare": (False, False), "log": (True, False), "log and gauges": (True, True)}
    took = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, kind in kinds.items():
            took[name].append(asyncio.run(work(served(*kind), bodies)))
    ratios = {
        name: statistics.median(one / bare for one, bare in zip(took[name], took["bare"], strict=True)) - 1
        for name in kinds
    }
    print(
        f"\n{REQUESTS / min(took['bare']):,.0f} requests a CPU second; more CPU:",
        {n: f"{r:+.1%}" for n, r in ratios.items()},
    )
    assert ratios["log"] < MOST_OF_LOG and ratios["log and gauges"] < MOST_OF_ALL
