"""Looks are kept beside the head, one watcher at a time, and none is lost."""

import json
import threading

import numpy as np
import pytest

from alignkit.errors import AlignkitError, ArtifactError
from alignkit.watching.past_looks import Look, Reference, beside, past_looks
from alignkit.watching.searched import Figures

ABOUT = {"head": "abc", "place": "here"}


@pytest.fixture
def head(tmp_path):
    (tmp_path / "run" / "head").mkdir(parents=True)
    (tmp_path / "run" / "head" / "head.json").write_text("{}")
    return tmp_path / "run"


def reference():
    return Reference("those", "here", Figures(np.array([0.5, 0.7]), np.array([0.9, 0.8])))


def a_look(number):
    return Look(number, "2026-05-03T10:00:00+00:00", "live.jsonl", None, [f"k{number}"], [None], [0.5], [0.9], [0.1])


def test_what_was_kept_is_read_again_in_order(head):
    for number in range(1, 4):
        with past_looks(head, ABOUT) as past:
            assert len(past.looks) == number - 1
            past = past if past.reference else past.begin(reference())
            past.add(a_look(number))
    with past_looks(head / "head", ABOUT) as past:  # its head/ is the same head
        assert past.asked() == {"k1", "k2", "k3"} and past.reference.of == "those"
        assert past.scores() == pytest.approx([0.5009, 0.7008, 0.5009, 0.5009, 0.5009])


@pytest.mark.parametrize("changed", [{"head": "b"}, {"place": "there"}])
def test_another_head_or_index_has_looks_of_its_own(head, changed):
    with past_looks(head, ABOUT) as past:
        past.begin(reference()).add(a_look(1))
    with past_looks(head, ABOUT | changed) as past:
        assert past.reference is None and not past.looks


def test_a_second_watcher_waits_and_says_so(head, caplog):
    inside, leave, found = threading.Event(), threading.Event(), []

    def first():
        with past_looks(head, ABOUT) as past:
            inside.set()
            leave.wait(30)
            past.begin(reference()).add(a_look(1))

    def second():
        with past_looks(head, ABOUT) as past:
            found.append(len(past.looks))

    one, other = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    inside.wait(30)
    other.start()
    while "waiting for it to finish" not in caplog.text and other.is_alive():
        other.join(0.01)
    leave.set()
    one.join(30)
    other.join(30)
    assert found == [1] and "another watch is looking at this head" in caplog.text


@pytest.mark.parametrize("content", ["", "[]", '{"number": 1}', None])
def test_a_damaged_file_is_named_with_the_way_out(head, content):
    with past_looks(head, ABOUT) as past:
        folder = past.begin(reference()).add(a_look(1)).folder
    path = folder / "look-00001.json"
    told = json.loads(path.read_text()) | {"overlap": [0.1, 0.2]}
    path.write_text(json.dumps(told) if content is None else content)
    with pytest.raises(ArtifactError, match=r"look-00001.json: not what watch keeps .* remove the folder"):
        with past_looks(head, ABOUT):
            pass
    with pytest.raises(ArtifactError):  # the lock is free again
        with past_looks(head, ABOUT):
            pass


def test_where_looks_lie_of_every_form_of_a_head(head, tmp_path):
    bundle = tmp_path / "head.zip"
    bundle.write_bytes(b"")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "head.json").write_text("{}")
    places = [beside(one) for one in (head, head / "head", bundle, bare)]
    assert places == [head / "watch", head / "watch", tmp_path / "head.zip.watch", bare / "watch"]


def test_a_place_that_cannot_be_written_is_one_line(head):
    (head / "watch").write_text("a file")
    with pytest.raises(AlignkitError, match="could not be written"), past_looks(head, ABOUT):
        pass
