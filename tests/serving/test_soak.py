"""Mixed load with bad requests among good ones: nothing breaks, nothing leaks, nobody waits for ever.

Only where ALIGNKIT_SOAK_S says for how many seconds: 20 for a quick one, 600 for the long run.
"""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

SOAK_S = float(os.environ.get("ALIGNKIT_SOAK_S", "0"))
pytestmark = [pytest.mark.soak, pytest.mark.skipif(not SOAK_S, reason="set ALIGNKIT_SOAK_S to a number of seconds")]
CLIENTS = 8
# the slowest of a hundred, with all clients on the machine's own cores
P99_S = 2.0

SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import pathlib
from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact
from alignkit.embedders.static import StaticEmbedder
from alignkit.serving.answers import Answerer
from alignkit.serving.server import build_server, listen
from alignkit.serving.service import Service
service = Service(Answerer(AlignedEmbedder.load(sys.argv[2], StaticEmbedder())))
listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
build_server(service).run(sockets=[listener])
"""

WORDS = "reset cancel order password invoice flight table weather balance transfer meeting room café 预订 билет".split()


def resident_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def good(randomness):
    texts = [
        " ".join(randomness.choices(WORDS, k=randomness.randint(1, 12)))
        for _ in range(randomness.choice([1, 1, 1, 8, 64]))
    ]
    path = randomness.choice(["/v1/embeddings", "/api/embed"])
    more = {"encoding_format": "base64"} if path.startswith("/v1") and randomness.random() < 0.5 else {}
    return path, {"json": {"model": "alignkit", "input": texts, **more}}


def bad(randomness):
    bodies = [
        b"",
        b"{",
        b"[" * 5000,
        b"\xff" * 20,
        b'{"input": [1]}',
        b'{"input": " "}',
        b'{"input": "a", "model": "b"}',
    ]
    return randomness.choice(["/v1/embeddings", "/api/embed"]), {"content": randomness.choice(bodies)}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from /proc")
def test_soak(artifact, tmp_path):
    pytest.importorskip("wordllama")
    from alignkit.artifact import save_artifact

    save_artifact(artifact, tmp_path / "head")
    command = [sys.executable, "-c", SERVER, str(Path(__file__).parents[2]), str(tmp_path / "head")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        statuses, latencies, memory = load(url, server.pid)
    finally:
        server.terminate()
        _, log = server.communicate(timeout=30)
    assert statuses["good"].keys() == {200}
    assert all(400 <= status < 500 for status in statuses["bad"])
    assert sorted(latencies)[int(0.99 * len(latencies))] < P99_S
    warm = memory[len(memory) // 3]
    assert max(memory[len(memory) // 3 :]) <= 1.05 * warm, memory
    assert "Traceback" not in log


def load(url, pid):
    statuses, latencies, memory = {"good": {}, "bad": {}}, [], []
    deadline = time.monotonic() + SOAK_S

    def client(seed):
        randomness = random.Random(seed)
        with httpx.Client(base_url=url, timeout=30) as session:
            while time.monotonic() < deadline:
                kind, make = ("good", good) if randomness.random() < 0.8 else ("bad", bad)
                path, arguments = make(randomness)
                started = time.perf_counter()
                status = session.post(path, **arguments).status_code
                latencies.append(time.perf_counter() - started)
                statuses[kind][status] = statuses[kind].get(status, 0) + 1

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while time.monotonic() < deadline:
        time.sleep(SOAK_S / 20)
        memory.append(resident_mib(pid))
    for thread in threads:
        thread.join()
    return statuses, latencies, memory
