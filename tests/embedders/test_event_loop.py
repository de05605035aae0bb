"""Threads that share one loop, while one of them closes it."""

import asyncio
import gc
import threading
import warnings

import anyio
import pytest
from waiting import HANG_S, joined

from alignkit.embedders.remote.event_loop import BackgroundLoop
from alignkit.errors import EmbedderError


async def nothing():
    pass


def test_who_waits_is_told_that_the_loop_was_closed():
    loop, waits, said = BackgroundLoop(), threading.Event(), []

    async def hang():
        waits.set()
        await asyncio.Event().wait()

    def ask():
        with pytest.raises(EmbedderError) as error:
            loop.run(hang())
        said.append(str(error.value))

    thread = threading.Thread(target=ask)
    thread.start()
    assert waits.wait(HANG_S)
    loop.close(nothing())
    joined(thread)
    assert said == ["the embedder was closed while it waited for the server"]
    with pytest.raises(EmbedderError, match="the embedder is closed"):
        loop.run(nothing())
    with pytest.raises(EmbedderError, match="the embedder is closed"):
        loop.start(nothing(), on_end=said.append)
    assert len(said) == 1


def test_closing_ends_also_what_a_cancelled_coroutine_started():
    loop, waits, ended = BackgroundLoop(), threading.Event(), threading.Event()

    async def late():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def starts_another():
        try:
            waits.set()
            await asyncio.Event().wait()
        finally:
            starts_another.task = asyncio.create_task(late())
            await asyncio.sleep(0)

    loop.start(starts_another(), on_end=lambda _: None)
    assert waits.wait(HANG_S)
    loop.close(nothing())
    assert ended.is_set()


def test_closing_leaves_to_others_what_they_are_about_to_start():
    """A task of anyio's that is cancelled before it has begun leaves its coroutine behind; httpx's connecting did."""
    loop, waits = BackgroundLoop(), threading.Event()

    async def starts_one_after_another():
        async with anyio.create_task_group() as group:
            while True:
                group.start_soon(nothing)
                waits.set()
                await asyncio.sleep(0)

    loop.start(starts_one_after_another(), on_end=lambda _: None)
    assert waits.wait(60)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        loop.close(nothing())
        gc.collect()
    assert [str(one.message) for one in said] == []


def test_nobody_waits_for_ever_who_asked_while_the_loop_was_closing():
    """What is submitted is run, cancelled or refused, whichever thread comes first."""

    async def step():
        await asyncio.sleep(0)

    for _ in range(20):
        loop, answers = BackgroundLoop(), []

        def ask(loop=loop, answers=answers):
            try:
                while True:
                    loop.run(step())
            except EmbedderError as error:
                answers.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        loop.close(nothing())
        joined(*threads)
        assert len(answers) == 4
