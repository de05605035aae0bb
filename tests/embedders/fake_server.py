"""A server on loopback that answers as Ollama and the OpenAI-compatible servers do, faults included."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from waiting import HANG_S

DIGEST = "a8b0c5157701b7ff2d2d3a2b1f1b5a7e3c0d9d6f4e2a1c3b5d7f9e8c6b4a2d10"


def vector_of(text: str, dim: int) -> np.ndarray:
    """What the fake model gives: a unit vector that depends on nothing but the text."""
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


class FakeServer(ThreadingHTTPServer):
    """Scriptable; every embedding request first takes the next fault, if one is left.

    Attributes:
        faults: functions of (handler, texts) that answer in the server's place, or return an answer to send instead.
        requests: texts of every embedding request, in order of arrival.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, dim: int = 8, models: tuple[str, ...] = ("tiny:latest",), port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.dim = dim
        self.models = models
        self.digests: dict[str, str] = {}  # by name, where it is another than DIGEST
        self.cards: dict[str, dict] = {}  # what `/api/show` tells of a name
        self.shown: list[str] = []
        self.version = "0.24.0"
        self.base64_mode = "yes"  # yes, ignored, refused
        self.most_texts: int | None = None
        self.most_bytes: int | None = None
        self.needs_key: str | None = None
        self.latency_s = 0.0
        self.load_ns = 0
        self.v1_models: object = None
        self.extra: dict[str, dict] = {}
        self.weights = ""  # others give others vectors
        self.unsteady = 0.0  # how far a vector leans where other texts are in the request
        self.context: int | None = None  # tokens of a text, words here, beyond which it is cut
        self.events: dict[int, Callable] = {}  # number of an embedding request -> what happens before it is answered
        self.faults: list[Callable] = []
        self.always: Callable | None = None
        self.requests: list[list[str]] = []
        self.bodies: list[dict] = []
        self.headers_seen: list[dict] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.released = threading.Event()
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def replace_model(self, name: str, weights: str) -> None:
        """As `ollama create` does under a name that is there: from the next request on, others answer."""
        blob = hashlib.sha256(weights.encode()).hexdigest()
        self.weights = weights
        self.digests[name] = hashlib.sha256(f"manifest of {weights}".encode()).hexdigest()
        card = {"modelfile": f"FROM /models/blobs/sha256-{blob}\n", "parameters": ""}
        self.cards[name] = self.cards[name.removesuffix(":latest")] = card

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event."""

    def times_sent(self) -> Counter:
        return Counter(text for request in self.requests for text in request)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        if self.path == "/api/version":
            self.send_json(200, {"version": server.version})
        elif self.path == "/api/tags" and server.models:
            names, digests = server.models, server.digests
            listed = [{"name": name, "model": name, "digest": digests.get(name, DIGEST)} for name in names]
            self.send_json(200, {"models": listed})
        elif self.path == "/v1/models" and server.v1_models is not None:
            self.send_json(200, server.v1_models)
        elif self.path in server.extra:
            self.send_json(200, server.extra[self.path])
        else:
            self.send_text(404, "404 page not found")

    def do_POST(self) -> None:
        server = self.server
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if server.most_bytes is not None and len(raw) > server.most_bytes:
            return self.send_text(413, "length limit exceeded")
        body = json.loads(raw)
        if self.path == "/api/show":
            with server.lock:
                server.shown.append(body["model"])
            card = server.cards.get(body["model"])
            missing = {"error": f"model '{body['model']}' not found"}
            return self.send_json(404 if card is None else 200, missing if card is None else card)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        with server.lock:
            server.requests.append(texts)
            server.bodies.append(body)
            server.headers_seen.append(dict(self.headers))
            server.events.pop(len(server.requests), lambda: None)()
            fault = server.faults.pop(0) if server.faults else server.always
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            if server.latency_s:
                server.released.wait(server.latency_s)
            if server.needs_key and self.headers.get("Authorization") != f"Bearer {server.needs_key}":
                sent = self.headers.get("Authorization", "")
                return self.send_json(401, {"error": {"message": f"Incorrect API key provided: {sent}"}})
            if fault is not None:
                texts = fault(self, texts)
                if texts is None:
                    return None
            if self.path == "/api/embed":
                self.ollama(body, texts)
            elif self.path == "/v1/embeddings":
                self.openai(body, texts)
            else:
                self.send_text(404, "404 page not found")
        finally:
            with server.lock:
                server.in_flight -= 1

    def ollama(self, body: dict, texts: list[str]) -> None:
        server = self.server
        name = body["model"].lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
        name = name if ":" in name else f"{name}:latest"
        if name not in server.models and body["model"] not in server.models:
            return self.send_json(404, {"error": f"model '{body['model']}' not found"})
        if any("<nan>" in text for text in texts):
            return self.send_json(400, {"error": "embedding contains NaN or Inf values"})
        longest = max((len(text.split()) for text in texts), default=0)
        if not body["truncate"] and longest > (server.context or 900):
            return self.send_json(400, {"error": "the input length exceeds the context length"})
        lengths = [len(text.split()) for text in texts]
        if server.context is not None:
            texts = [" ".join(text.split()[: server.context]) for text in texts]
            lengths = [min(length, server.context) for length in lengths]
        width = min(body.get("dimensions") or server.dim, server.dim)
        vectors = [vector_of(server.weights + text, width).tolist() for text in texts]
        answer = {"model": name, "embeddings": vectors, "total_duration": 5_000_000, "prompt_eval_count": sum(lengths)}
        if server.load_ns:
            answer["load_duration"], server.load_ns = server.load_ns, 0
        self.send_json(200, answer)

    def openai(self, body: dict, texts: list[str]) -> None:
        server = self.server
        if server.most_texts is not None and len(texts) > server.most_texts:
            message = f"batch size {len(texts)} > maximum allowed batch size {server.most_texts}"
            return self.send_json(422, {"error": message, "error_type": "Validation"})
        as_base64 = body.get("encoding_format") == "base64" and server.base64_mode == "yes"
        if body.get("encoding_format") == "base64" and server.base64_mode == "refused":
            return self.send_json(400, {"error": {"message": "encoding_format must be float"}})
        if any("<nan>" in text for text in texts):
            return self.send_json(500, {"error": {"code": 500, "message": "[json.exception] unsupported value: NaN"}})
        data = []
        for index, text in enumerate(texts):
            kept = " ".join(text.split()[: server.context]) if server.context else text
            vector = vector_of(server.weights + kept, server.dim)
            if server.unsteady and len(texts) > 1:
                vector = vector + np.float32(server.unsteady) * vector_of(f"beside {kept}", server.dim)
            packed = base64.b64encode(vector.astype("<f4").tobytes()).decode() if as_base64 else vector.tolist()
            data.append({"object": "embedding", "index": index, "embedding": packed})
        tokens = sum(min(len(text.split()), server.context or 10**9) for text in texts)
        answer = {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": tokens}}
        self.send_json(200, answer)

    def send_json(self, status: int, answer: object, headers: dict[str, str] | None = None) -> None:
        self.send_body(status, json.dumps(answer).encode("utf-8"), "application/json", headers)

    def send_text(self, status: int, text: str, kind: str = "text/plain", headers: dict | None = None) -> None:
        self.send_body(status, text.encode("utf-8"), kind, headers)

    def send_body(self, status: int, body: bytes, kind: str, headers: dict | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def status(code: int, message: str = "busy", headers: dict[str, str] | None = None) -> Callable:
    """Answer with a status and Ollama's form of an error."""
    return lambda handler, texts: handler.send_json(code, {"error": message}, headers)


def html(handler: Handler, texts: list[str]) -> None:
    handler.send_text(200, "<html><body>Sign in to the proxy</body></html>", "text/html")


def hang(handler: Handler, texts: list[str]) -> None:
    handler.server.released.wait(2 * HANG_S)


def reset_mid_body(handler: Handler, texts: list[str]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"embeddings": [[0.1, 0.2')
    handler.wfile.flush()
    # linger 0: the peer gets a reset instead of an orderly end
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def too_few(handler: Handler, texts: list[str]) -> list[str]:
    return texts[:-1]


def raw_rows(make: Callable[[list[list[float]]], str]) -> Callable:
    """Answer Ollama's JSON with rows written by hand, so that it may hold what json.dumps would not."""

    def fault(handler: Handler, texts: list[str]) -> None:
        rows = [vector_of(text, handler.server.dim).tolist() for text in texts]
        handler.send_text(200, f'{{"model":"tiny","embeddings":{make(rows)}}}', "application/json")

    return fault


def shuffled(handler: Handler, texts: list[str]) -> None:
    data = [
        {"index": index, "embedding": vector_of(text, handler.server.dim).tolist()} for index, text in enumerate(texts)
    ]
    handler.send_json(200, {"data": data[1:] + data[:1]})


def with_first(replacement: str) -> Callable:
    """The first row is something else."""
    return raw_rows(lambda rows: re.sub(r"^\[\[.*?\]", lambda _: "[" + replacement, json.dumps(rows), count=1))
