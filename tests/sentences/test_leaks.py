import numpy as np
import pytest

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.grammar import generate
from alignkit.sentences.leaks import find_leaks
from alignkit.sentences.near_duplicates import find_near_duplicates
from alignkit.sentences.normalise import is_cjk, normalise_text
from alignkit.sentences.seeds import read_seeds


def grams(text):
    padded, width = f" {normalise_text(text)} ", 2 if is_cjk(text) else 3
    return {padded[start : start + width] for start in range(len(padded) - width + 1)}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("threshold", [0.8, 1.0])
def test_all_near_duplicates_are_found_as_comparing_every_pair_would(language, threshold):
    samples = list(generate([read_seeds(language)], 60, 0))
    left, right = [sample.text for sample in samples], [text for sample in samples[:40] for text in sample.texts()]
    columns_of = list(enumerate(map(grams, right)))
    similarities = {
        (row, column): len(one & other) / len(one | other)
        for row, one in enumerate(map(grams, left))
        for column, other in columns_of
    }
    expected = {pair: similarity for pair, similarity in similarities.items() if similarity >= threshold}
    rows, columns, similarity = find_near_duplicates(left, right, threshold)
    assert len(expected) >= 40
    assert dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), similarity, strict=True)) == pytest.approx(
        expected
    )


def test_pairs_within_a_group_are_left_out():
    texts, groups = ["book room one", "book room one", "book room one"], np.array([0, 0, 1])
    rows, columns, _ = find_near_duplicates(texts, texts, 0.8, (groups, groups))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 2), (1, 2), (2, 0), (2, 1)]


def test_shortest_texts_and_empty_sides():
    assert len(find_near_duplicates(["a", ""], ["a", "b"])[0]) == 1
    assert len(find_near_duplicates([], ["a"])[0]) == 0
    with pytest.raises(ConfigError):
        find_near_duplicates(["a"], ["a"], 0.1)


def test_an_equal_test_text_fails_loudly():
    with pytest.raises(DataError, match=r"1 of 2 test texts are in the training split too, the first is 'BOOK it！'"):
        find_leaks(["book it.", "other"], ["BOOK it！", "new"])


def test_near_leaks_are_reported_with_the_nearest_training_text():
    train = ["please book the blue room for monday", "please book the blue room for mondays", "cancel everything"]
    report = find_leaks(train, ["something else entirely", "please book the blue room for a monday"])
    assert [(row, column) for row, column, _ in report.near] == [(0, 1)]
    assert "1 of 2 compared test texts" in report.line() and "0.8" in report.line()


def test_nothing_to_compare_is_no_leak():
    assert find_leaks([], ["a"]).near == () and find_leaks(["a"], []).near == ()
