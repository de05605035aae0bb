"""Mixed load with bad requests among good ones, and with slow, vanishing and careless clients: nothing breaks, nothing
leaks, nobody waits for ever.

Only where ALIGNKIT_SOAK_S says for how many seconds: 20 for a quick one, 600 for the long run.
"""

import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from waiting import HANG_S, Client, post

SOAK_S = float(os.environ.get("ALIGNKIT_SOAK_S", "0"))
pytestmark = [pytest.mark.soak, pytest.mark.skipif(not SOAK_S, reason="set ALIGNKIT_SOAK_S to a number of seconds")]
CLIENTS = 8
# a short run beside other tests says nothing of speed and memory
LONG_S = 300
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
from alignkit.serving.limits import Limits
from alignkit.serving.server import build_server, listen
from alignkit.serving.service import Service
limits = Limits(body_timeout_s=5)
service = Service(Answerer(AlignedEmbedder.load(sys.argv[2], StaticEmbedder())), limits=limits)
listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
build_server(service).run(sockets=[listener])
"""

WORDS = "reset cancel order password invoice flight table weather balance transfer meeting room café 预订 билет".split()


LETTERS = "abcdefghijklmnopqrstuvwxyzäéйц"


def text(randomness, words):
    """Half of the words are known, half were never seen before."""
    drawn = randomness.choices(WORDS, k=words)
    for place in range(0, words, 2):
        drawn[place] = "".join(randomness.choices(LETTERS, k=randomness.randint(3, 12)))
    return " ".join(drawn)


def resident_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def good(randomness):
    texts = [text(randomness, randomness.randint(1, 12)) for _ in range(randomness.choice([1, 1, 1, 8, 64]))]
    path = randomness.choice(["/v1/embeddings", "/api/embed"])
    more = {"encoding_format": "base64"} if path.startswith("/v1") and randomness.random() < 0.5 else {}
    return path, {"json": {"model": "alignkit", "input": texts, **more}}


def bad(randomness):
    bodies = [
        b"",
        b"{",
        b"[" * 5000,
        b"\xff" * 20,
        b'{"input": [1.5]}',
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
        fill_memory(url)
        statuses, latencies, memory = load(url, server.pid)
    finally:
        server.terminate()
        _, log = server.communicate(timeout=HANG_S)
    assert statuses["good"].keys() == {200}
    assert all(400 <= status < 500 for status in statuses["bad"])
    assert "Traceback" not in log
    if SOAK_S >= LONG_S:
        assert sorted(latencies)[int(0.99 * len(latencies))] < P99_S
        warm = memory[len(memory) // 3]
        assert max(memory[len(memory) // 3 :]) <= 1.05 * warm, memory


def careless(url, randomness):
    """One connection that does not do what it should, and that may be left open."""
    body = json.dumps({"input": ["a text"] * 500}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(OSError):
        connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        connection.sendall(randomness.choice([b"", head[:20], head, head + body[:50], head + body, (head + body) * 3]))
    if randomness.random() < 0.5:
        # no seconds of linger: reset instead of an orderly end
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    return connection  # if it is open, it neither sends nor reads any more


def fill_memory(url):
    """Until the student remembers as many words as it ever will."""
    randomness = random.Random(-1)
    for _ in range(60):
        texts = [text(randomness, 30) for _ in range(256)]
        assert post(f"{url}/v1/embeddings", json={"input": texts}).status_code == 200


def load(url, pid):
    statuses, latencies, memory = {"good": {}, "bad": {}}, [], []
    deadline = time.monotonic() + SOAK_S

    def client(seed):
        randomness = random.Random(seed)
        with Client(base_url=url) as session:
            while time.monotonic() < deadline:
                kind, make = ("good", good) if randomness.random() < 0.8 else ("bad", bad)
                path, arguments = make(randomness)
                started = time.perf_counter()
                status = session.post(path, **arguments).status_code
                latencies.append(time.perf_counter() - started)
                statuses[kind][status] = statuses[kind].get(status, 0) + 1

    def careless_client():
        randomness, left_open = random.Random(-2), deque()
        while time.monotonic() < deadline:
            left_open.append(careless(url, randomness))
            if len(left_open) > 50:
                left_open.popleft().close()
            time.sleep(0.02)
        for connection in left_open:
            connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    threads.append(threading.Thread(target=careless_client))
    for thread in threads:
        thread.start()
    while time.monotonic() < deadline:
        time.sleep(SOAK_S / 20)
        memory.append(resident_mib(pid))
    for thread in threads:
        thread.join()
    return statuses, latencies, memory
