"""Parsing and checking one answer, without a server."""

import base64
import datetime
import email.utils
import json

import numpy as np
import pytest

from alignkit.embedders.remote.answers import check_rows, order_by_index, parse_json, row_of
from alignkit.embedders.remote.faults import (
    Backoff,
    StatusError,
    TextFault,
    TooLargeFault,
    TransientFault,
    fault_of_status,
    message_of,
    seconds_of,
)


def test_numbers_survive_json_to_the_last_bit():
    vectors = np.random.default_rng(0).standard_normal((4, 3584)).astype(np.float32)
    rows = parse_json(json.dumps({"embeddings": vectors.tolist()}).encode(), "application/json")["embeddings"]
    assert np.array_equal(np.stack([row_of(row) for row in rows]), vectors)


def test_base64_is_little_endian_float32():
    packed = base64.b64encode(np.array([1.5, -2.0], dtype=">f4").byteswap().tobytes()).decode()
    assert row_of(packed).tolist() == [1.5, -2.0]


@pytest.mark.parametrize("value", ["not base64!", "AAAA", {"a": 1}, 3, None, ["a"], [None], [[1.0]], [1e400]])
def test_what_is_no_vector(value):
    row = row_of(value)
    assert row is None or not np.isfinite(row).all()


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"embeddings": [[0.1', b"[1, 2]", b"\xff\xfe"])
def test_bodies_that_are_no_json_object(body):
    with pytest.raises(TransientFault):
        parse_json(body, "text/html")


def test_python_servers_nan_is_read():
    assert np.isnan(parse_json(b'{"embeddings": [[NaN]]}', "")["embeddings"][0][0])


@pytest.mark.parametrize(
    "entries",
    [
        None,
        "data",
        [1],
        [{"index": 0}, {"index": 0}],
        [{"index": 1}],
        [{"index": -1}],
        [{"index": "0"}],
    ],
)
def test_indices_that_do_not_number_the_rows(entries):
    with pytest.raises(TextFault):
        order_by_index(entries)


def test_entries_without_an_index_stand_in_order():
    assert order_by_index([{"embedding": "a"}, {"embedding": "b"}]) == ["a", "b"]


def test_places_of_the_good_rows():
    places, vectors, failures = check_rows([[1, 2], [0, 0], None, [3, 4]], 4)
    assert places.tolist() == [0, 3]
    assert vectors.tolist() == [[1, 2], [3, 4]]
    assert failures.keys() == {1, 2}


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (408, "", TransientFault),
        (429, "overloaded", TransientFault),
        (500, "boom", TransientFault),
        (424, "backend", TransientFault),
        (503, "", TransientFault),
        (500, "unsupported value: NaN", TextFault),
        (500, "input is too large to process", TextFault),
        (400, "the input length exceeds the context length", TextFault),
        (422, "inputs must have less than 512 tokens", TextFault),
        (422, "batch size 64 > maximum allowed batch size 32", TooLargeFault),
        (413, "length limit exceeded", TooLargeFault),
        (301, "", StatusError),
        (401, "", StatusError),
        (404, "", StatusError),
        (501, "", StatusError),
    ],
)
def test_what_a_status_means(status, message, kind):
    assert type(fault_of_status(status, message, {}, {})) is kind


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "too long"}',
        b'{"error": {"message": "too long", "code": 400}}',
        b'{"detail": "too long"}',
        b'{"object": "error", "message": "too long"}',
        b"too\n  long",
    ],
)
def test_every_servers_words_are_found(body):
    assert message_of(body) == "too long"


def test_a_page_of_words_is_cut():
    assert len(message_of(b"x" * 10_000)) == 300


def test_retry_after_may_be_a_date():
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert 27 < seconds_of(email.utils.format_datetime(then, usegmt=True)) <= 30
    assert seconds_of("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert seconds_of("-3") == 0


def test_waits_double_and_are_bounded():
    backoff = Backoff(first_s=1, longest_s=10)
    for failed, longest in [(1, 1), (2, 2), (3, 4), (4, 8), (9, 10)]:
        waits = [backoff.wait_s(failed, None) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
        assert len(set(waits)) > 1 or longest == 10
    assert 7 <= backoff.wait_s(1, 7) <= 7.1
    assert backoff.wait_s(1, 3600) == 10
