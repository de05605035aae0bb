"""Texts made up out of a user's own: new ones, in the user's words, never one that is tested."""

import re

import numpy as np
import pytest

from alignkit.sentences import made_up
from alignkit.sentences.made_up import joined, make_up, part_of, with_slip, without_words
from alignkit.sentences.normalise import normalise_text

TEXTS = ["where is my parcel now", "please cancel my order today", "the invoice of last month is wrong again"]
CHINESE = ["我的包裹没有到，请帮我查一下", "这个订单可以退款吗"]


def many(maker, text, texts=TEXTS, count=200):
    rng = np.random.default_rng(0)
    return [maker(text, texts, rng) for _ in range(count)]


def test_a_part_is_a_stretch_of_the_text():
    for text in (*TEXTS, *CHINESE):
        found = set(many(part_of, text))
        assert len(found) > 5 and all(part in text and part != text for part in found)
    assert {len(part.split()) for part in many(part_of, TEXTS[0])} == {2, 3, 4}
    assert set(many(part_of, "hello there")) == {""}


def test_words_left_out_keep_their_order():
    for made in many(without_words, TEXTS[2]):
        assert re.fullmatch(" ?".join(f"({word})?" for word in TEXTS[2].split()), made)
        assert len(made.split()) < len(TEXTS[2].split())
    assert all(" " not in made and len(made) < len(CHINESE[0]) for made in many(without_words, CHINESE[0]))
    assert set(many(without_words, "hello there")) == {""}


def test_two_in_one_are_two_different_texts():
    assert set(many(joined, TEXTS[0])) == {f"{TEXTS[0]} {TEXTS[1]}", f"{TEXTS[0]} {TEXTS[2]}", ""}


def test_a_slip_changes_one_place_of_a_longer_word():
    found = set(many(with_slip, "is my parcel in"))
    assert len(found) > 10
    assert {made.split()[0] + made.split()[1] + made.split()[3] for made in found} == {"ismyin"}
    assert all(made.split()[2][0] == "p" and abs(len(made) - len("is my parcel in")) <= 1 for made in found)
    # missing, doubled, exchanged, the key beside
    assert {"is my parel in", "is my parrcel in", "is my pacrel in", "is my patcel in"} <= found
    assert set(many(with_slip, "is it on")) == {""} == set(many(with_slip, CHINESE[0]))
    assert any("ш" in made for made in many(with_slip, "хорошо"))


@pytest.mark.parametrize("texts", [TEXTS, CHINESE, ["one", "two"], ["\U0001f600", "ok", ""]])
def test_what_is_made_up_is_new_and_the_same_each_time(texts):
    made = make_up(texts, 40, seed=3)
    forms = [normalise_text(text) for text in made]
    assert made == make_up(texts, 40, seed=3) and len(set(forms)) == len(forms) > 0 and all(forms)
    assert not set(forms) & {normalise_text(text) for text in texts}


def test_no_text_that_is_tested_is_made_up():
    """Not even one in other letters: what is tested would be trained on."""
    tested = ["Cancel my ORDER!", "my parcel now", "the invoice of last month"]
    makes = make_up(TEXTS, 5_000, seed=0)
    assert {normalise_text(text) for text in tested} <= {normalise_text(text) for text in makes}
    avoided = {normalise_text(text) for text in make_up(TEXTS, 5_000, seed=0, known=tested)}
    assert not avoided & {normalise_text(text) for text in tested}


def test_as_many_as_are_wanted_and_every_text_has_its_share():
    texts = [f"sentence number {number} of many that are here" for number in range(300)]
    made = make_up(texts, 600, seed=0)
    assert len(made) == 600
    taken = {number for text in made for number in re.findall(r"\d+", text)}
    assert len(taken) > 250
    assert make_up([], 5, 0) == make_up(["a"], 5, 0) == make_up(texts, 0, 0) == []
    assert len(make_up(texts, 7, 0)) == 7


def test_shares_are_kept():
    texts = [f"sentence number {number} of many that are here" for number in range(500)]
    made = make_up(texts, 500, seed=0)
    both = sum(text.count("sentence") == 2 for text in made)
    assert both / len(made) == pytest.approx(made_up.SHARES[joined], abs=0.08)
