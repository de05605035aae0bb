import pytest

from alignkit.embedders import embeddable
from alignkit.embedders.embeddable import admit, fault_of


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "  leading and trailing  ",
        "\u4f60\u597d",
        "\U0001f600",
        "\U0001fae9",  # newer than some Pythons' Unicode tables
        "?",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "x" * 100_000,
        "nul \0 inside",
        "\u200bword",
        " " * 1000 + "late",
    ],
)
def test_texts_that_have_a_vector(text):
    assert fault_of(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "blank"),
        (" \t\r\n", "blank"),
        ("\u00a0\u3000\u2028", "blank"),
        ("\ufeff", "blank"),
        ("\u200b\u200d", "blank"),
        ("\0\x01", "blank"),
        ("\ufffd", "blank"),
        ("\u200b " * 1000, "blank"),
        ("\udc80", r"U\+DC80 at character 0"),
        ("pair in the wrong order \ude00\ud83d", r"U\+DE00 at character 24"),
        (None, "NoneType"),
        (b"bytes", "bytes"),
        (3, "int"),
    ],
)
def test_texts_that_have_none(text, words):
    import re

    assert re.search(words, fault_of(text))


def test_a_long_blank_text_is_not_looked_at_character_by_character(monkeypatch):
    looked = []
    monkeypatch.setattr(embeddable, "_is_visible", looked.append)
    assert fault_of("\u200b " * 100_000) == "the text is empty or blank"
    assert len(looked) < 1000


def test_positions_are_kept():
    positions, failures = admit(["a", "", "b", None, "c"])
    assert positions == [0, 2, 4]
    assert failures.keys() == {1, 3}


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["a", "b"],
        ["a", "", "b"],
        ["", "ab"],
        ["a", " b"],
        ["\u4f60\u597d", "a"],
        ["a", "b \ud83d"],
        ["b \ud83d", "a"],
        ["a\ud83d", "\ude00b"],
        ["a", None],
        ["a", ["b"]],
        [3, {}],
        ("a", "b"),
    ],
)
def test_texts_together_are_judged_as_each_alone(texts):
    faults = {row: fault_of(text) for row, text in enumerate(texts)}
    admitted, refused = admit(texts)
    assert refused == {row: fault for row, fault in faults.items() if fault}
    assert admitted == [row for row, fault in faults.items() if not fault]
