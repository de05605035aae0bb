"""Ten thousand bodies that no client should send: each is refused in the right envelope, and none is a 500."""

import asyncio
import gzip
import json
import random

import pytest
from odd_students import OddStudent, odd_artifact

from alignkit.aligned import AlignedEmbedder
from alignkit.serving.answers import Answerer
from alignkit.serving.app import create_app
from alignkit.serving.service import Service

COUNT = 10_000
PATHS = ("/v1/embeddings", "/api/embed", "/api/embeddings")
FIELDS = ("input", "model", "encoding_format", "dimensions", "prompt", "user", "truncate", "options")
ODD_VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    "",
    " ",
    "\u200b",
    "\ud83d",
    "text",
    [],
    [[]],
    [None],
    ["a", 1],
    [1, 2],
    [[1]],
    {},
    {"a": {}},
)
RAW_VALUES = (
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-0",
    "1" * 400,
    '"\\ud800"',
    '"\\u0000"',
    "tru",
    "'a'",
    "[1,]",
    '{"a":1,}',
)


def nested(randomness):
    depth = randomness.choice([3, 50, 2_000, 50_000])
    opening, closing = randomness.choice([("[", "]"), ('{"input":', "}")])
    return (opening * depth + "1" + closing * randomness.choice([depth, 0])).encode()


def wrong_types(randomness):
    chosen = randomness.sample(FIELDS, randomness.randint(1, 4))
    return json.dumps({field: randomness.choice(ODD_VALUES) for field in chosen}).encode("utf-8", "surrogatepass")


def wrong_literals(randomness):
    return f'{{"{randomness.choice(FIELDS)}": {randomness.choice(RAW_VALUES)}}}'.encode()


def sound(randomness):
    asked = {
        "model": "alignkit",
        "input": [f"text {randomness.random()}", "ünï🙂"],
        "prompt": "a prompt",
        "dimensions": 3,
    }
    return json.dumps(asked, ensure_ascii=randomness.random() < 0.5).encode()


def truncated(randomness):
    body = sound(randomness)
    return body[: randomness.randrange(len(body))]


def invalid_utf8(randomness):
    body = bytearray(sound(randomness))
    for _ in range(randomness.randint(1, 5)):
        body.insert(randomness.randrange(1, len(body)), randomness.randint(0x80, 0xFF))
    return bytes(body)


def flipped(randomness):
    body = bytearray(sound(randomness))
    for _ in range(randomness.randint(1, 20)):
        body[randomness.randrange(len(body))] = randomness.randrange(256)
    return bytes(body)


def noise(randomness):
    return randomness.randbytes(randomness.randint(0, 300))


MAKERS = (nested, wrong_types, wrong_literals, truncated, invalid_utf8, flipped, noise)


async def send(app, path, body, headers=()):
    """One request, past any client that would refuse to send it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent = []

    async def receive():
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def collect(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "root_path": "",
    }
    await app(scope, receive, collect)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def check_envelope(path, status, body):
    answered = json.loads(body)
    if status == 200:
        return
    assert 400 <= status < 500, (status, body)
    if path.startswith("/v1/"):
        assert set(answered) == {"error"}
        assert set(answered["error"]) == {"message", "type", "param", "code"}
        message = answered["error"]["message"]
    else:
        message = answered["error"]
    assert isinstance(message, str) and message and "Traceback" not in message


@pytest.mark.parametrize("seed", range(4))
def test_fuzzed_bodies(seed, caplog):
    app = create_app(Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent()))))
    randomness = random.Random(seed)
    statuses = []

    async def all_of_them():
        for _ in range(COUNT // 4):
            path, maker = randomness.choice(PATHS), randomness.choice(MAKERS)
            status, body = await send(app, path, maker(randomness))
            statuses.append(status)
            check_envelope(path, status, body)

    asyncio.run(all_of_them())
    # some mutations leave a sound request; most must not
    assert statuses.count(200) < 0.2 * len(statuses)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_gzip_bomb_is_refused_unopened():
    app = create_app(Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent()))))
    bomb = gzip.compress(b"a" * 50_000_000)
    for encoding in (b"gzip", b"deflate", b"br", b"gzip, gzip"):
        for path in PATHS:
            status, body = asyncio.run(send(app, path, bomb, [(b"content-encoding", encoding)]))
            assert status == 415
            check_envelope(path, status, body)
