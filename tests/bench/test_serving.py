"""The server against LitServe, alone, and with many texts a request; needs wrk (a compiled load generator)."""

import http.client
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact, save_head
from alignkit.heads.linear import LinearHead
from alignkit.pairs.demo import load_demo

pytest.importorskip("uvicorn")
psutil = pytest.importorskip("psutil")
pytest.importorskip("wordllama")

HERE = Path(__file__).parent
START_TIMEOUT_S = 90
SECONDS, ROUNDS, CONNECTIONS = 4, 3, 32
TEXT = "how do i reset my password please"


@pytest.fixture(scope="module")
def head_folder(static_run):
    return static_run / "head"


def start(script, folder, log):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / script), str(folder), str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=sys.platform != "win32")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if post(port, {"model": "alignkit", "input": TEXT}) == 200:
                return process, port
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{script} did not start")


def stop(process):
    import os
    import signal

    if sys.platform == "win32":
        process.terminate()
    else:
        # LitServe's workers are processes of their own, in this session
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


def post(port, asked):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/embeddings", json.dumps(asked), {"content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(head_folder, tmp_path_factory):
    """The process and its port."""
    with (tmp_path_factory.mktemp("log") / "alignkit.log").open("w", encoding="utf-8") as log:
        process, port = start("served_alignkit.py", head_folder, log)
        yield process, port
        stop(process)


@pytest.fixture(scope="module")
def wrk(tmp_path_factory):
    """Run wrk with one text a request; returns requests a second and the median latency in ms."""
    if shutil.which("wrk") is None:
        pytest.skip("needs wrk")
    script = tmp_path_factory.mktemp("wrk") / "post.lua"
    body = json.dumps({"model": "alignkit", "input": TEXT})
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\nwrk.body = '{body}'\n",
        encoding="utf-8",
    )

    def run(port, connections):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "--latency", "-s", str(script)]
        shown = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/v1/embeddings"], capture_output=True, encoding="utf-8", check=True
        ).stdout
        assert "Non-2xx" not in shown
        value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", shown).groups()
        return float(re.search(r"Requests/sec:\s+([\d.]+)", shown)[1]), float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[
            unit
        ]

    return run


def processor_seconds(pid):
    """Of a process and those that it started."""
    process = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def test_many_times_litserve(server, head_folder, wrk, record_property, tmp_path):
    """By the clock, which needs a machine that does nothing else, and by the processor time of a request."""
    pytest.importorskip("litserve")
    rates, costs = {}, {}
    with (tmp_path / "litserve.log").open("w", encoding="utf-8") as log:
        litserve = start("served_litserve.py", head_folder, log)
        try:
            for _ in range(ROUNDS):
                for process, port in (server, litserve):
                    before = processor_seconds(process.pid)
                    rates.setdefault(port, []).append(wrk(port, CONNECTIONS)[0])
                    cost = (processor_seconds(process.pid) - before) / (rates[port][-1] * SECONDS)
                    costs.setdefault(port, []).append(cost)
        finally:
            stop(litserve[0])
    ours, theirs = (statistics.median(rates[port]) for _, port in (server, litserve))
    our_cost, their_cost = (statistics.median(costs[port]) for _, port in (server, litserve))
    figures = {
        "requests_per_s": ours,
        "litserve_requests_per_s": theirs,
        "ratio": ours / theirs,
        "processor_us": our_cost * 1e6,
        "litserve_processor_us": their_cost * 1e6,
        "processor_ratio": their_cost / our_cost,
    }
    for name, value in figures.items():
        record_property(name, value)
    assert their_cost >= 8 * our_cost
    assert ours >= 5 * theirs


def test_a_lone_client_waits_less_than_two_ms(server, wrk, record_property):
    latency_ms = statistics.median(wrk(server[1], 1)[1] for _ in range(ROUNDS))
    record_property("latency_ms_p50", latency_ms)
    assert latency_ms < 2


class Client:
    """A bare socket, so that little but the server's own work is measured; sends bodies that were made before."""

    def __init__(self, url):
        host, _, port = url.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.answer = bytearray(1 << 20)

    def post(self, body):
        head = f"POST /v1/embeddings HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        read = self.socket.recv_into(self.answer)
        end = self.answer.index(b"\r\n\r\n", 0, read) + 4
        assert self.answer.startswith(b"HTTP/1.1 200")
        left = end + int(re.search(rb"content-length: (\d+)", self.answer[:end])[1]) - read
        while left:
            left -= self.socket.recv_into(self.answer, left)


@pytest.mark.parametrize("student", ["static", "two_layer"])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_overhead_of_many_texts(student, encoding, head_folder, record_property, tmp_path):
    """64 texts a request over a kept-alive connection, beside the same texts embedded in the same process.

    By the processor time of the process without the client's thread, and by the clock, which needs a quiet machine.
    """
    from threadpoolctl import threadpool_limits

    from alignkit.embedders.static import StaticEmbedder
    from alignkit.embedders.two_layer import TwoLayerEmbedder
    from alignkit.serving.answers import Answerer
    from alignkit.serving.service import Service
    from alignkit.serving.vector_json import as_json

    sys.path.insert(0, str(HERE.parent / "serving"))
    from running_server import running

    if student == "static":
        aligned = AlignedEmbedder(load_artifact(head_folder), StaticEmbedder())
    else:
        torch.manual_seed(0)
        folder = save_head(LinearHead(384, 384).eval(), tmp_path / "head")
        aligned = AlignedEmbedder.load(folder, TwoLayerEmbedder())
    texts = list(load_demo("static").test.texts)
    batches = [texts[start : start + 64] for start in range(0, 512, 64)]
    bodies = [json.dumps({"input": batch, "encoding_format": encoding}).encode() for batch in batches]
    vectors = aligned.encode(batches[0])
    costs, waits = {}, {}

    def measure(what, work, given):
        """Notes seconds of one call, by the clock and of the processor, the latter without those of a client."""
        by_clock, of_process, of_thread = time.perf_counter(), time.process_time(), time.thread_time()
        for one in given:
            work(one)
        spent = time.process_time() - of_process
        costs.setdefault(what, []).append((spent - (time.thread_time() - of_thread if what == "request" else 0)) / 8)
        waits.setdefault(what, []).append((time.perf_counter() - by_clock) / 8)

    # as `serve` has it
    with threadpool_limits(1, user_api="blas"), running(Service(Answerer(aligned))) as url:
        client = Client(url)
        for _ in range(16):
            measure("embedding", aligned.encode, batches)
            measure("request", client.post, bodies)
            measure("numbers", as_json, [vectors] * 8)
        client.socket.close()
    cost, wait = ({what: statistics.median(seconds) for what, seconds in of.items()} for of in (costs, waits))
    overhead = cost["request"] / cost["embedding"] - 1
    record_property("overhead", overhead)
    record_property("overhead_by_clock", wait["request"] / wait["embedding"] - 1)
    record_property("numbers", cost["numbers"] / cost["embedding"])
    for what, seconds in cost.items():
        record_property(f"{what}_ms", seconds * 1e3)
    # a table look-up takes less time than writing its numbers as text: there it is stated, not bounded
    assert student == "static" or overhead < 0.15
