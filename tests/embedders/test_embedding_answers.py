"""Parsing and checking one answer, without a server."""

import base64
import datetime
import email.utils
import json

import numpy as np
import pytest

from alignkit.embedders.remote.embedding_answers import check_rows, embeddings_in, order_by_index, parse_json, row_of
from alignkit.embedders.remote.server_faults import (
    Backoff,
    MisfitFault,
    ServerError,
    ShapeFault,
    StatusError,
    TextFault,
    TooLargeFault,
    TransientFault,
)
from alignkit.embedders.remote.statuses import fault_in_answer, fault_of_status, seconds_of


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


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"embeddings": [[0.1', b"\xff\xfe"])
def test_bodies_that_are_no_json_may_pass(body):
    with pytest.raises(TransientFault, match="not JSON"):
        parse_json(body, "text/html")


@pytest.mark.parametrize("body", [b"[1, 2]", b'"text"', b"null"])
def test_json_of_another_kind_is_another_api(body):
    with pytest.raises(ShapeFault, match="expected an answer that is a JSON object"):
        parse_json(body, "application/json")


def test_python_servers_nan_is_read():
    assert np.isnan(parse_json(b'{"embeddings": [[NaN]]}', "")["embeddings"][0][0])


@pytest.mark.parametrize(
    "entries",
    [
        [{"index": 0}, {"index": 0}],
        [{"index": 1}],
        [{"index": -1}],
        [{"index": "0"}],
        [{"index": None}],
    ],
)
def test_indices_that_do_not_number_the_rows(entries):
    with pytest.raises(ServerError, match="cannot be matched to the texts; set batch_size=1"):
        order_by_index(entries)


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": "data"}, {"data": {"0": 1}}, {"embedding": [1.0]}])
def test_an_answer_without_embeddings_says_what_it_has(answer):
    with pytest.raises(ShapeFault, match=f"no list 'data'; its fields are {', '.join(answer) or 'none'}$"):
        embeddings_in(answer, "data")
    with pytest.raises(ShapeFault, match="it says: not here"):
        embeddings_in({**answer, "detail": "not here"}, "data")


def test_entries_that_are_none():
    with pytest.raises(ShapeFault, match="no entries"):
        order_by_index([[0.1, 0.2]])


def test_entries_without_an_index_stand_in_order():
    assert order_by_index([{"embedding": "a"}, {"embedding": "b"}]) == ["a", "b"]


def test_places_of_the_good_rows():
    places, vectors, failures = check_rows([[1, 2], [0, 0], None, [3, 4], [5, 6]], 5)
    assert places.tolist() == [0, 3, 4]
    assert vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert failures.keys() == {1, 2}


@pytest.mark.parametrize("row", [[0, 0], None, [float("nan"), 1], [], "AAAA", {"a": 1}, [[1, 2], [3, 4]]])
def test_an_answer_of_which_half_is_of_no_use_blames_no_text(row):
    for rows in ([row], [row, row], [[1, 2], row], [[1, 2], row, row, [3, 4]]):
        with pytest.raises(TextFault):
            check_rows(rows, len(rows))


def test_vectors_that_do_not_fit_their_texts():
    for rows, count in (([[1, 2]], 2), ([[1, 2], [3, 4]], 1), ([[1, 2], [1, 2, 3]], 2)):
        with pytest.raises(MisfitFault):
            check_rows(rows, count)


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
        (400, 'do embedding request: Post "http://127.0.0.1:4711/embedding": EOF', TransientFault),
        (500, 'do embedding request: Post "http://x/embedding": read: connection reset by peer', TransientFault),
        (500, "llama runner process has terminated: exit status 2", TransientFault),
        (500, "llama runner process no longer running: -1", TransientFault),
        (500, "model runner has unexpectedly stopped, this may be due to resource limitations", TransientFault),
        (429, "You exceeded your current quota, please check your plan and billing details", StatusError),
        (400, "Client sent an HTTP request to an HTTPS server.", StatusError),
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
    ("error", "kind"),
    [
        ("Unexpected endpoint or method. (POST /embeddings)", StatusError),
        ({"message": "No models loaded", "code": "model_not_found"}, StatusError),
        ({"message": "unknown model", "code": 404}, StatusError),
        ({"message": "wrong key", "type": "invalid_api_key"}, StatusError),
        ({"message": "slow down", "code": "429"}, TransientFault),
        ({"message": "slow down", "type": "rate_limit_exceeded"}, TransientFault),
        ("the server is busy", TransientFault),
        ("the model is loading", TransientFault),
        ({"message": "boom", "code": 500}, TransientFault),
        ("input is too long", TextFault),
        ("something else", TextFault),
        ({"code": 7}, TextFault),
        (["a"], TextFault),
    ],
)
def test_what_an_error_in_an_answer_of_status_200_means(error, kind):
    assert type(fault_in_answer({"error": error}, {}, "")) is kind


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
