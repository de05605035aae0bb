"""A call is made again while a server is away, and only then."""

import pytest

from alignkit.errors import EngineError
from alignkit.indexes import calling_again
from alignkit.indexes.calling_again import ServerAway, called_again


@pytest.fixture
def slept(monkeypatch):
    waits = []
    monkeypatch.setattr(calling_again.time, "sleep", waits.append)
    return waits


def answers(*these):
    left = iter(these)

    def call():
        one = next(left)
        if isinstance(one, Exception):
            raise one
        return one

    return call


def test_a_server_that_comes_back_answers(slept):
    away = ServerAway(EngineError("away"))
    assert called_again(answers(away, away, 7), (0.1, 0.2, 0.4)) == 7
    assert slept == [0.1, 0.2]


def test_one_that_stays_away_is_the_last_calls_error(slept):
    calls = [ServerAway(EngineError(f"away, {number}")) for number in range(3)]
    with pytest.raises(EngineError, match="^away, 2$"):
        called_again(answers(*calls), (0.1, 0.2))
    assert slept == [0.1, 0.2]


def test_a_refusal_is_final(slept):
    with pytest.raises(EngineError, match="no"):
        called_again(answers(EngineError("no"), 7), (0.1,))
    assert slept == []
