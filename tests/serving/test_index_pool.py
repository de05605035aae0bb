"""Searches side by side: every engine from threads that did not open it, and what a slow or failing index costs."""

import asyncio
import threading

import numpy as np
import pytest
from engines import DIM, ENGINES, stored, unit_vectors
from waiting import HANG_S

from alignkit.errors import AlignkitError
from alignkit.searching.hits import nearest
from alignkit.searching.spaces import SpacesOf
from alignkit.serving import index_pool
from alignkit.serving.index_pool import IndexPool
from alignkit.serving.request_faults import OverloadedFault, RequestFault


def spaces_of(open_index):
    return SpacesOf(open_index, "digest", 5, DIM)


@pytest.mark.parametrize("engine", ENGINES)
def test_many_searches_at_once_in_every_engine(engine, tmp_path, request):
    made = stored(engine, tmp_path, request)
    first = spaces_of(made.open)
    threads = 3 if first.now().index.parallel else 1  # opened here, searched there
    rest = iter([first])
    queries = unit_vectors(12, seed=6)
    expected = [[made.ids[row] for row in np.argsort(-(made.vectors @ query))[:4]] for query in queries]

    async def scenario():
        pool = IndexPool(lambda: next(rest, None) or spaces_of(made.open), threads)
        work = [pool.run(lambda spaces, one=query: nearest(spaces.index, one, 4)) for query in queries]
        found = await asyncio.gather(*work)
        assert not pool.busy
        pool.close()
        return found

    assert [[hit.id for hit in hits] for hits in asyncio.run(scenario())] == expected


@pytest.fixture
def docs(tmp_path, request):
    return stored("parquet", tmp_path, request)


def test_a_search_that_hangs_holds_up_neither_the_others_nor_its_client(docs, monkeypatch):
    gate = threading.Event()

    def hanging(spaces):
        assert gate.wait(HANG_S)

    async def scenario():
        pool = IndexPool(lambda: spaces_of(docs.open), threads=2, timeout_s=0.1)
        with pytest.raises(RequestFault, match=r"took longer than 0\.1 s") as caught:
            await pool.run(hanging)
        assert caught.value.status == 504 and pool.busy
        pool._timeout_s = HANG_S
        assert await pool.run(lambda spaces: spaces.described.rows) == len(docs.ids)
        second = asyncio.ensure_future(pool.run(hanging))
        await asyncio.sleep(0)
        monkeypatch.setattr(index_pool, "MOST_WAITING", 1)
        with pytest.raises(OverloadedFault, match="too many searches are waiting"):
            await pool.run(hanging)
        gate.set()
        await second
        pool.close()

    asyncio.run(scenario())


def test_an_index_that_is_gone_and_comes_back_is_searched_again(docs, tmp_path):
    there, away = tmp_path / "docs.parquet", tmp_path / "away.parquet"

    def rows(spaces):
        return len(spaces.index.search(unit_vectors(1), 100)[0][0])

    async def scenario():
        pool = IndexPool(lambda: spaces_of(docs.open), threads=1)
        assert await pool.run(rows) == len(docs.ids)
        there.rename(away)
        for _ in range(2):
            with pytest.raises(AlignkitError, match="no such file"):
                await pool.run(rows)
        away.rename(there)
        assert await pool.run(rows) == len(docs.ids)
        pool.close()

    asyncio.run(scenario())
