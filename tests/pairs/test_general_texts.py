"""Texts to see what is forgotten: the packaged ones and the user's own, without those that were trained on."""

from __future__ import annotations

import pytest

from alignkit.errors import DataError
from alignkit.pairs.general_texts import PACKAGED, general_texts
from alignkit.sentences.normalise import is_cjk, normalise_text


def test_the_packaged_sentences_are_distinct_and_follow_the_language_of_the_training_texts():
    english, source = general_texts(["book a table", "play some jazz", "订一张桌子"])
    chinese, _ = general_texts(["订一张桌子", "播放音乐", "play some jazz"])
    for texts in (english, chinese):
        assert len(texts) == len({normalise_text(text) for text in texts}) == 500
    assert not any(map(is_cjk, english)) and all(map(is_cjk, chinese)) and "Tatoeba" in source
    about = (PACKAGED.parent / "README.md").read_text(encoding="utf-8")
    assert "Tatoeba" in about and "Creative Commons" in about and "licenses/by/2.0/fr" in about


def test_a_sentence_that_was_trained_on_is_not_looked_at():
    english, _ = general_texts(())
    left, _ = general_texts(["hello there", f"  {english[0].upper()}", english[7]])
    assert left == [text for row, text in enumerate(english) if row not in (0, 7)]


def test_a_file_of_ones_own_is_read_without_repetitions_and_blanks(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join([*(f"sentence number {row}" for row in range(40)), "", "Sentence number 3!", "  "]))
    texts, source = general_texts(["sentence number 5"], file)
    assert texts == [f"sentence number {row}" for row in range(40) if row != 5] and source == str(file)
    many = tmp_path / "many.txt"
    many.write_text("\n".join(f"text {row}" for row in range(3000)))
    sample = general_texts((), many)[0]
    assert len(sample) == 1000 and sample == general_texts((), many)[0] != general_texts((), many, seed=1)[0]


def test_too_few_texts_are_refused_with_what_to_do(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"sentence number {row}" for row in range(40)))
    with pytest.raises(
        DataError, match=r"check_on=.*29 of its 40 texts are distinct and no training texts; give at least"
    ):
        general_texts([f"sentence number {row}" for row in range(11)], file)
    with pytest.raises(DataError, match="there is no file"):
        general_texts((), tmp_path / "gone.txt")
