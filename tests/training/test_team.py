"""Four processes that fit a head together, without Lightning, find what one finds."""

import multiprocessing
import sys

import pytest
import team_of_four
import torch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo over several processes is slow to start there")


@pytest.fixture(scope="module")
def alone():
    """What one process finds."""
    return team_of_four.alone()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What each of four processes leaves behind."""
    folder = tmp_path_factory.mktemp("team")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["team_of_four"])
    address = (folder / "meeting").as_uri()
    ranks = [
        context.Process(target=team_of_four.together, args=(rank, address, str(folder)))
        for rank in range(team_of_four.SIZE)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0, 1, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(team_of_four.SIZE)]


@pytest.mark.parametrize("name", [*team_of_four.HEADS, "two parts", "weights", "fewer pairs than processes",
                                  "further pairs", "mean", "weighted mean"])  # fmt: skip
def test_the_first_finds_what_one_process_finds(alone, together, name):
    expected, found = alone[name], together[0]["facts"][name]
    assert found.keys() == expected.keys() and all(one["facts"][name] is None for one in together[1:])
    # float32 sums in another order; a kernel's solution is the worst conditioned, and how far it moves is the chip's
    for part, value in expected.items():
        torch.testing.assert_close(found[part], value, rtol=1e-4, atol=1e-4)


def test_each_reads_its_share_and_no_other(together):
    shares = [one["rows"] for one in together]
    assert [len(share) for share in shares] == [125, 125, 125, 126]
    assert sorted(row for share in shares for row in share) == list(range(501))


def test_all_know_what_the_first_drew(together):
    assert len({one["drawn"]["a"] for one in together}) == 1


def test_a_share_that_cannot_be_summed_up_is_said_by_the_first_and_ends_the_others_quietly(together):
    kind, words = together[0]["said"]["spoilt share"]
    assert kind.endswith("Error") and words.startswith("process 2 of 4, on ")
    assert "hold NaN or infinite numbers" in words and "\n" not in words
    assert [one["said"]["spoilt share"] for one in together[1:]] == [("SystemExit", "0")] * 3


def test_where_the_first_fails_the_others_end_quietly(together):
    assert together[0]["said"]["failing first"][0] == "IndexError"
    assert [one["said"]["failing first"] for one in together[1:]] == [("SystemExit", "0")] * 3


def test_a_process_that_is_lost_ends_the_others_in_one_line(together):
    for rank in (0, 1, 3):
        words = together[rank]["said"]["lost"].splitlines()[-1]
        assert "one of the processes that train together has ended" in words and "resume=" in words
