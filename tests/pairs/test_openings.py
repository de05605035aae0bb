from __future__ import annotations

import pytest

from alignkit.pairs.openings import MOST_WORDS, opening, openings

MANY = " ".join(f"word{number}" for number in range(60))


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("How to reset a password. Open the settings.", "How to reset a password."),
        ("How to reset a password\n\nOpen the settings", "How to reset a password"),
        ("how do I reset a password ? open the settings .", "how do I reset a password ?"),
        ('He said "never do that again!" Then he left.', 'He said "never do that again!"'),
        ("The pipe is 3.5 metres long. It leaks.", "The pipe is 3.5 metres long."),
        ("Opening a door. Turn the handle. Then push.", "Opening a door. Turn the handle."),
        ("Overview\nThe pump needs oil. It leaks.", "Overview\nThe pump needs oil."),
        ("如何重置密码。打开设置,然后选择安全。", "如何重置密码。"),
        (f"{MANY}. The end.", " ".join(MANY.split()[:MOST_WORDS])),
    ],
)
def test_a_document_begins_with_its_title_or_first_sentence(text, begins):
    assert opening(text) == begins


@pytest.mark.parametrize("text", ["", "  ", "Hello.", "How do I reset a password?", "one two three four five"])
def test_a_text_of_one_short_sentence_has_no_opening(text):
    assert opening(text) is None


def test_what_tells_no_document_from_the_others_is_left_out():
    shared = "Dear customer of our shop. "
    texts = [
        shared + "Your parcel left.",
        shared.upper() + "Your parcel is late.",
        "How to return a parcel. Print this.",
    ]
    assert openings(texts, texts) == {"How to return a parcel.": 2}
    assert openings(texts, [*texts, "how to return a parcel"]) == {}  # it has a vector of its own
