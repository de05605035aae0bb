"""Micro-batches: together where they can be, apart where they must, never more than the queue holds."""

import asyncio
import threading
import time

import numpy as np
import pytest
from odd_students import OddStudent, odd_artifact
from waiting import HANG_S

from alignkit.aligned import AlignedEmbedder
from alignkit.errors import EmbedderError
from alignkit.serving import batching
from alignkit.serving.answers import Answer, Answerer
from alignkit.serving.batching import MicroBatcher
from alignkit.serving.request_faults import QueueFullFault, SharedCallError, StuckFault


class Lengths:
    """Answers each text with its length; notes the batches."""

    def __init__(self, gate=None):
        self.batches, self.gate = [], gate

    def __call__(self, texts):
        self.batches.append(list(texts))
        if self.gate is not None:
            assert self.gate.wait(HANG_S)
        if "down" in texts:
            raise EmbedderError("down")
        if "bug" in texts:
            raise ZeroDivisionError("bug")
        failures = {row: "bad" for row, text in enumerate(texts) if text == "bad"}
        vectors = np.array([[len(text)] for text in texts], dtype=np.float32)
        return Answer(vectors, failures, None, np.zeros(len(texts), dtype=bool))


def run(work, *requests, **settings):
    async def together():
        batcher = MicroBatcher(work, **settings)
        answers = await asyncio.gather(*map(batcher.submit, requests), return_exceptions=True)
        await batcher.close()
        assert batcher.queued_texts == 0
        return answers

    return asyncio.run(together())


def test_requests_of_one_moment_share_a_batch():
    work = Lengths()
    answers = run(work, ["a"], ["bb", "ccc"], ["dddd"])
    assert [answer.vectors.ravel().tolist() for answer in answers] == [[1], [2, 3], [4]]
    assert work.batches == [["a", "bb", "ccc", "dddd"]]


def test_batches_are_bounded_and_in_order():
    work = Lengths()
    run(work, ["1"], ["2", "3"], ["4"], ["5", "6", "7", "8", "9"], ["0"], max_batch_texts=3)
    # what a batch does not hold comes in parts, and others in between
    assert work.batches == [["1", "2", "3"], ["4"], ["5", "6", "7"], ["0", "8", "9"]]


def test_what_comes_while_busy_waits_for_the_next_batch():
    work = Lengths(threading.Event())

    async def scenario():
        batcher = MicroBatcher(work)
        first = asyncio.create_task(batcher.submit(["first"]))
        while not work.batches:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.submit([name])) for name in "abc"]
        await asyncio.sleep(0)
        assert batcher.queued_texts == 3
        work.gate.set()
        await asyncio.gather(first, *others)
        await batcher.close()

    asyncio.run(scenario())
    assert work.batches == [["first"], ["a", "b", "c"]]


def test_an_idle_worker_can_wait_for_company():
    work = Lengths()

    async def scenario():
        batcher = MicroBatcher(work, wait_s=HANG_S, max_batch_texts=2)
        first = asyncio.create_task(batcher.submit(["a"]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert work.batches == [] and batcher.queued_texts == 1
        # a full batch does not wait any longer
        await asyncio.gather(first, batcher.submit(["b"]))
        await batcher.close()

    asyncio.run(scenario())
    assert work.batches == [["a", "b"]]


def test_a_full_queue_turns_away_and_says_when_to_come_back():
    work = Lengths(threading.Event())

    async def scenario():
        batcher = MicroBatcher(work, max_queue_texts=3)
        running = asyncio.create_task(batcher.submit(["running"]))
        while not work.batches:
            await asyncio.sleep(0.001)
        waiting = asyncio.create_task(batcher.submit(["a", "b"]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullFault) as full:
            await batcher.submit(["c", "d"])
        assert full.value.status == 503
        assert 1 <= int(full.value.headers["retry-after"]) <= 60
        last = asyncio.create_task(batcher.submit(["c"]))
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(running, waiting, last)
        # larger than the queue, but nothing waits
        assert len((await batcher.submit(list("abcdef"))).vectors) == 6
        await batcher.close()

    asyncio.run(scenario())


def test_requests_in_parts_fill_the_queue_like_any_other():
    work = Lengths(threading.Event())

    async def scenario():
        batcher = MicroBatcher(work, max_batch_texts=2, max_queue_texts=8)
        requests = []
        # each goes in parts, so that none of its texts stands in the queue while one of its parts runs
        for _ in range(6):
            requests.append(asyncio.create_task(batcher.submit(list("abcdef"))))
            await asyncio.sleep(0)
            while not work.batches:
                await asyncio.sleep(0.001)
            assert batcher.queued_texts <= 8
        work.gate.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        await batcher.close()
        assert batcher.queued_texts == 0
        return answers

    answers = asyncio.run(scenario())
    assert [type(answer) for answer in answers] == [Answer] + [QueueFullFault] * 5


def test_who_has_gone_takes_no_place_in_the_queue():
    work = Lengths(threading.Event())

    async def scenario():
        batcher = MicroBatcher(work, max_queue_texts=2)
        running = asyncio.create_task(batcher.submit(["running"]))
        while not work.batches:
            await asyncio.sleep(0.001)
        gone = asyncio.create_task(batcher.submit(["a", "b"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher.queued_texts == 0
        stays = asyncio.create_task(batcher.submit(["c", "d"]))
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(running, stays)
        await batcher.close()

    asyncio.run(scenario())
    assert work.batches == [["running"], ["c", "d"]]


def test_failures_reach_their_own_request():
    first, second = run(Lengths(), ["a", "bad"], ["bad", "b"])
    assert dict(first.failures) == {1: "bad"}
    assert dict(second.failures) == {0: "bad"}


def test_a_failing_model_fails_the_batch_once():
    work = Lengths()
    answers = run(work, ["a"], ["down"])
    assert [type(answer) for answer in answers] == [SharedCallError, SharedCallError]
    # the model's own words may hold another request's texts
    assert not any("down" in str(answer) for answer in answers)
    assert len(work.batches) == 1
    (alone,) = run(work, ["down"])
    assert isinstance(alone, EmbedderError)
    assert str(alone) == "down"


def test_a_bug_hits_only_the_request_that_causes_it():
    work = Lengths()
    first, second, third = run(work, ["a"], ["bug"], ["c"])
    assert first.vectors.tolist() == [[1]]
    assert isinstance(second, ZeroDivisionError)
    assert third.vectors.tolist() == [[1]]


def test_given_up_requests_are_not_embedded():
    work = Lengths(threading.Event())

    async def scenario():
        batcher = MicroBatcher(work)
        running = asyncio.create_task(batcher.submit(["running"]))
        while not work.batches:
            await asyncio.sleep(0.001)
        gone = asyncio.create_task(batcher.submit(["gone"]))
        stays = asyncio.create_task(batcher.submit(["stays"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        work.gate.set()
        await asyncio.gather(running, stays)
        await batcher.close()

    asyncio.run(scenario())
    assert work.batches == [["running"], ["stays"]]


def test_parts_of_a_large_request_are_joined():
    (answer,) = run(Lengths(), ["a", "bb", "bad", "dddd", "bad"], max_batch_texts=2)
    assert answer.vectors.ravel().tolist() == [1, 2, 3, 4, 3]
    assert dict(answer.failures) == {2: "bad", 4: "bad"}


def test_a_request_given_up_between_its_parts_leaves_the_queue():
    work = Lengths(threading.Event())

    async def scenario():
        batcher = MicroBatcher(work, max_batch_texts=2)
        large = asyncio.create_task(batcher.submit(list("abcdefg")))
        while not work.batches:
            await asyncio.sleep(0.001)
        assert batcher.queued_texts == 5
        large.cancel()
        work.gate.set()
        await batcher.submit(["z"])
        assert batcher.queued_texts == 0
        await batcher.close()

    asyncio.run(scenario())
    assert work.batches == [["a", "b"], ["z"]]


class Hanging:
    """Does not come back from texts that start with `hang`, as long as the gate is closed; counts calls at once."""

    def __init__(self):
        self.gate, self.calls, self.running, self.most_running = threading.Event(), [], 0, 0

    def __call__(self, texts):
        self.calls.append(list(texts))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if texts[0].startswith("hang"):
                assert self.gate.wait(HANG_S)
            return Lengths()(texts)
        finally:
            self.running -= 1


async def until(condition):
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def test_models_that_hang_are_not_called_a_second_time():
    work = Hanging()

    async def scenario():
        batcher = MicroBatcher(work, call_timeout_s=0.2)
        hangs = asyncio.create_task(batcher.submit(["hang"]))
        await until(lambda: work.calls)
        queued = asyncio.create_task(batcher.submit(["queued"]))
        with pytest.raises(EmbedderError, match=r"no answer within 0.2 s"):
            await hangs
        # who comes now is told at once instead of after a timeout of its own
        with pytest.raises(StuckFault) as stuck:
            await batcher.submit(["later"])
        assert (stuck.value.status, stuck.value.headers["retry-after"]) == (503, "10")
        assert work.calls == [["hang"]]
        batcher._call_timeout_s = HANG_S
        work.gate.set()
        assert (await queued).vectors.tolist() == [[6]]
        assert (await batcher.submit(["after"])).vectors.tolist() == [[5]]
        await batcher.close()

    asyncio.run(scenario())
    assert work.most_running == 1


def test_models_for_several_threads_go_on_beside_a_few_calls_that_hang():
    work = Hanging()

    async def scenario():
        batcher = MicroBatcher(work, call_timeout_s=HANG_S, most_hung=3)
        for hung in range(3):
            batcher._call_timeout_s = HANG_S
            assert (await batcher.submit(["fine"])).vectors.tolist() == [[4]]
            batcher._call_timeout_s = 0.1
            with pytest.raises(EmbedderError, match="no answer within"):
                await batcher.submit([f"hang {hung}"])
        with pytest.raises(StuckFault):
            await batcher.submit(["fine"])
        batcher._call_timeout_s = HANG_S
        work.gate.set()
        await until(lambda: work.running == 0 and batcher._hung == 0)
        assert (await batcher.submit(["fine"])).vectors.tolist() == [[4]]
        await batcher.close()

    asyncio.run(scenario())
    assert work.most_running == 3


def test_closing_waits_no_longer_than_it_is_told():
    gate = threading.Event()

    async def scenario():
        batcher = MicroBatcher(Lengths(gate), call_timeout_s=HANG_S)
        hangs = asyncio.create_task(batcher.submit(["hangs"]))
        await until(lambda: batcher._running)
        started = time.monotonic()
        await batcher.close(wait_s=0.2)
        assert time.monotonic() - started >= 0.2
        assert not hangs.done()
        hangs.cancel()
        await asyncio.gather(hangs, return_exceptions=True)
        # nobody waits for an answer any more
        await asyncio.wait_for(batcher.close(wait_s=10 * HANG_S), HANG_S)

    asyncio.run(scenario())
    gate.set()


class WhichThread(Lengths):
    """Notes who calls it."""

    def __init__(self):
        super().__init__()
        self.in_loop = []

    def __call__(self, texts):
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        return super().__call__(texts)


def one_by_one(work, requests, **settings):
    async def in_turn():
        batcher = MicroBatcher(work, **settings)
        answers = [(await asyncio.gather(batcher.submit(texts), return_exceptions=True))[0] for texts in requests]
        await batcher.close()
        return answers

    return asyncio.run(in_turn())


def test_quick_batches_that_cannot_hang_need_no_thread(monkeypatch):
    monkeypatch.setattr(batching, "QUICK_S", 1000.0)
    work = WhichThread()
    answers = one_by_one(work, [["aa"] * 2, ["bb"], ["c"] * 3, ["dd"] * 3, ["e"]], may_hold_loop=True)
    # the first of each size tells how long it takes
    assert work.in_loop == [False, True, False, False, True]
    assert [answer.vectors.ravel().tolist() for answer in answers] == [[2, 2], [2], [1] * 3, [2] * 3, [1]]
    work = WhichThread()
    one_by_one(work, [["aa"] * 2, ["bb"]])
    assert work.in_loop == [False, False]


def test_long_texts_count_as_many():
    assert batching._size(["a" * 1000]) > batching._size(["a"] * 30)


def test_a_batch_that_was_not_quick_holds_the_loop_no_more(monkeypatch):
    work = WhichThread()
    limits = iter([1000.0, 0.0, 0.0, 1000.0, 0.0, 0.0, 0.0, 1000.0, 1000.0])

    def slower(texts):
        monkeypatch.setattr(batching, "QUICK_S", next(limits))
        return work(texts)

    one_by_one(slower, [["aa"] * 8] * 8 + [["bb"] * 4], may_hold_loop=True)
    # two slow calls may have waited for the processor, three in a row did not
    assert work.in_loop == [False, True, True, True, True, True, True, False, True]


def test_errors_in_the_loop_are_those_of_the_thread(monkeypatch):
    monkeypatch.setattr(batching, "QUICK_S", 1000.0)
    work = WhichThread()
    fine, bug, down, bad = one_by_one(work, [["aaaaa"], ["bug"], ["down"], ["bad"]], may_hold_loop=True)
    assert work.in_loop == [False, True, True, True]
    assert isinstance(bug, ZeroDivisionError) and isinstance(down, EmbedderError)
    assert fine.vectors.tolist() == [[5]] and bad.failures == {0: "bad"}


def test_only_a_table_may_hold_the_loop(aligned):
    assert Answerer(aligned).is_look_up
    assert not Answerer(AlignedEmbedder(odd_artifact(), OddStudent())).is_look_up
