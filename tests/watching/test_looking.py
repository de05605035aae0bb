"""Which queries are asked for, and that a look which fails costs no call twice."""

import dataclasses
import logging
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from small_embedder import SmallEmbedder

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.errors import DataError, EmbedderError
from alignkit.heads.linear import LinearHead
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.watching.live_queries import LiveQueries
from alignkit.watching.looking import look
from alignkit.watching.past_looks import PastLooks
from alignkit.watching.searched import SearchedVectors

DAY = datetime(2026, 5, 4, tzinfo=UTC)


class CountingTeacher(SmallEmbedder):
    """Answers a few texts at a time, and may give up on the way."""

    gives_up_after = 10_000

    def embed(self, texts, role="document"):
        for start in range(0, len(texts), 5):
            if len(self.asked) >= self.gives_up_after:
                raise EmbedderError("the server went away")
            for batch in super().embed(texts[start : start + 5], role):
                failures = {start + place: why for place, why in batch.failures.items()}
                yield dataclasses.replace(batch, indices=batch.indices + start, failures=failures)


def queries(count, day=DAY, first=0):
    texts = [f"query {number}" for number in range(first, first + count)]
    times = [None if day is None else day + timedelta(minutes=number) for number in range(first, first + count)]
    return LiveQueries(texts, times, [f"{day}{text}" for text in texts])


@pytest.fixture
def a_look(tmp_path):
    torch.manual_seed(0)
    head = LinearHead(8, 8).eval().requires_grad_(False)
    student, teacher = SmallEmbedder("student"), CountingTeacher("teacher")
    aligned = AlignedEmbedder(Artifact({"query_head": head}, student.identity(), teacher.identity()), student)
    vectors = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    sample = HeldOutSample(vectors[:100], vectors[100:200] / np.linalg.norm(vectors[100:200], axis=1, keepdims=True))

    def do(past, found, budget=20, usable=None, sample=sample):
        usable = np.ones(len(found), dtype=bool) if usable is None else usable
        with VectorCache(tmp_path / "cache") as cache:
            return look(
                past, found, usable, aligned, CachedEmbedder(teacher, cache), "query",
                SearchedVectors("here", vectors, 8), sample, name="live", budget=budget, seed=0,
            )  # fmt: skip

    return do, PastLooks(tmp_path / "watch"), teacher


def test_a_look_that_is_stopped_costs_no_call_twice_and_leaves_no_half(a_look):
    do, past, teacher = a_look
    teacher.gives_up_after = 10
    with pytest.raises(EmbedderError, match="went away"):
        do(past, queries(200))
    assert not past.folder.exists() and len(teacher.asked) == 10
    teacher.gives_up_after = 10_000
    looked = do(past, queries(200))
    assert len(set(teacher.asked)) == len(teacher.asked) == 20 and len(looked.past.looks[0].overlap) == 20


def test_a_log_that_grows_is_looked_at_for_what_is_new_first(a_look):
    do, past, _ = a_look
    past = do(past, queries(100)).past
    grown = queries(110)
    second = do(past, grown, budget=15).past.looks[-1]
    new = set(grown.keys[100:])
    assert new < set(second.keys) and len(second.keys) == 15  # the ten new ones, and five of the others
    assert not set(second.keys) & past.asked()


def test_a_row_dated_in_the_future_hides_none_that_comes_after_it(a_look):
    do, past, _ = a_look
    first = queries(50)
    first.times[7] = datetime.now(UTC) + timedelta(days=900)
    past = do(past, first).past
    assert past.looks[0].latest == first.times[49].isoformat()
    later = queries(50, DAY + timedelta(days=1))
    both = LiveQueries(first.texts + later.texts, first.times + later.times, first.keys + later.keys)
    assert set(do(past, both, budget=40).past.looks[-1].keys) <= {*later.keys, first.keys[7]}


def test_without_times_rows_are_drawn_from_all_that_were_not_asked(a_look):
    do, past, _ = a_look
    found = queries(60, None)
    keys = set()
    for _ in range(3):
        past = do(past, found).past
        assert past.looks[-1].days == [None] * 20 and past.looks[-1].latest is None
        keys |= set(past.looks[-1].keys)
    assert keys == set(found.keys)
    with pytest.raises(DataError, match="earlier looks asked for all"):
        do(past, found)


def test_queries_without_a_vector_are_left_out_and_counted(a_look, caplog):
    do, past, _ = a_look
    found = queries(30)
    found.texts[3] = "  "
    with caplog.at_level(logging.WARNING):
        looked = do(past, found, budget=30)
    assert "1 of 30 queries have no vector" in caplog.text
    assert len(looked.past.looks[0].overlap) == 29 and len(looked.past.looks[0].keys) == 30
    with pytest.raises(DataError, match="none of 1 queries has both vectors"):
        do(past, LiveQueries([" "], [None], ["blank"]))


def test_queries_stand_in_order_of_time_so_that_a_change_is_dated(a_look):
    do, past, _ = a_look
    shuffled = queries(80).take(np.random.default_rng(0).permutation(80).tolist())
    times = dict(zip(shuffled.keys, shuffled.times, strict=True))
    drawn = [times[key] for key in do(past, shuffled).past.looks[0].keys]
    assert drawn == sorted(drawn)
