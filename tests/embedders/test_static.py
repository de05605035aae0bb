import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from alignkit.embedders import word_tokens
from alignkit.embedders.base import embed_all
from alignkit.embedders.static import StaticEmbedder
from alignkit.errors import ConfigError, MissingExtraError

ODD_TEXTS = [
    "Reset my password, please!",
    " leading and trailing ",
    "two  spaces   three",
    "tab\tand\nnewline\r\n",
    "a<s> b </s><unk>",
    "\u2581sign of a space",
    "\u4f60\u597d \u4e16\u754c",
    "\U0001f600 \U0001f469\u200d\U0001f4bb x",
    "nul \0 inside",
    "e\u0301 combined \u00a0 no-break",
    "x" * 3000,
    "word " * 500,
]


@pytest.fixture(scope="module")
def embedder():
    pytest.importorskip("wordllama")
    return StaticEmbedder()


@pytest.fixture(scope="module")
def parts(embedder):
    """The package's tokenizer and table, read without any code of the embedder."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = Path(importlib.metadata.distribution("wordllama").locate_file("wordllama"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    (table,) = load_file(folder / "weights" / "l2_supercat_256.safetensors").values()
    return tokenizer, table


def mean_of_tokens(parts, text):
    tokenizer, table = parts
    return table[tokenizer.encode(text, add_special_tokens=False).ids].astype(np.float64).mean(axis=0)


def test_a_vector_is_the_mean_of_its_tokens(embedder, parts):
    expected = np.stack([mean_of_tokens(parts, text) for text in ODD_TEXTS])
    plain = StaticEmbedder(normalize=False)
    np.testing.assert_allclose(embed_all(plain, ODD_TEXTS), expected, atol=1e-5)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embed_all(embedder, ODD_TEXTS), expected, atol=1e-5)


def test_alone_and_in_any_batch_the_vector_is_the_same_to_the_last_bit(embedder):
    together = embed_all(embedder, ODD_TEXTS)
    fresh = StaticEmbedder(batch_size=1)
    assert np.array_equal(np.concatenate([embed_all(fresh, [text]) for text in reversed(ODD_TEXTS)])[::-1], together)


def test_words_give_the_tokenizers_own_tokens(embedder, parts, monkeypatch):
    file = Path(__file__).parents[2] / "../shared/data/tatoeba_en_zh"
    texts = list(ODD_TEXTS)
    if file.is_dir():
        for path in file.glob("*.tsv"):
            texts += [line for line in path.read_text(encoding="utf-8").splitlines()[:3000] if line]
    tokens_of = word_tokens.WordTokens(parts[0])
    monkeypatch.setattr(word_tokens, "MOST_TOKENS", 5000)  # so that it forgets now and then
    for start in range(0, len(texts), 500):
        part = texts[start : start + 500]
        tokens, counts = tokens_of(part)
        expected = [encoding.ids for encoding in parts[0].encode_batch(part, add_special_tokens=False)]
        assert counts.tolist() == [len(ids) for ids in expected]
        assert tokens.tolist() == [token for ids in expected for token in ids]


class Counted(dict):
    """A memory that tells whether somebody walked through all of it."""

    walks = 0

    def _walk(self):
        Counted.walks += 1
        return super()

    def __iter__(self):
        return self._walk().__iter__()

    def keys(self):
        return self._walk().keys()


def test_a_lone_text_does_not_walk_through_all_known_words(parts, monkeypatch):
    tokens_of = word_tokens.WordTokens(parts[0])
    tokens_of(["known words and some more"])
    tokens_of._id_of = Counted(tokens_of._id_of)
    tokens, bounds = tokens_of._tokens, tokens_of._bounds
    assert tokens_of(["some known words"])[1].tolist() == [3]
    tokens_of(["some unknown words"])
    assert Counted.walks == 0
    # nothing is copied to learn a word, as long as there is room
    assert tokens_of._tokens is tokens
    assert tokens_of._bounds is bounds


def test_what_is_remembered_is_bounded(parts, monkeypatch):
    monkeypatch.setattr(word_tokens, "MOST_TOKENS", 3000)
    tokens_of = word_tokens.WordTokens(parts[0])
    known = []
    for start in range(0, 20_000, 100):
        tokens_of([f"w{number}q" for number in range(start, start + 100)])
        known.append(len(tokens_of._id_of))
    assert max(known) < 2000
    assert known[-1] < max(known)
    # twice what was ever needed, for growing by doubling
    assert len(tokens_of._tokens) <= 8192


def test_failures_stand_at_their_positions(embedder):
    texts = ["a", "", "b", "\ud800", " ", "c"]
    batches = list(StaticEmbedder(batch_size=2).embed(texts))
    assert sorted(np.concatenate([batch.indices for batch in batches]).tolist()) == [0, 2, 5]
    assert {position for batch in batches for position in batch.failures} == {1, 3, 4}


def test_prompt_and_normalisation_are_in_the_identity_and_the_vector(embedder, parts):
    prompted = StaticEmbedder(query_prompt="query: ")
    assert prompted.identity("query") != prompted.identity("document") == embedder.identity("document")
    assert StaticEmbedder(normalize=False).identity() != embedder.identity()
    expected = mean_of_tokens(parts, "query: hello there")
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(embed_all(prompted, ["hello there"], "query")[0], expected, atol=1e-6)


def test_the_identity_names_the_table(embedder):
    assert embedder.identity()["digest"] == "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'wordllama.*pip install "alignkit\[local\]"'):
        StaticEmbedder()


def test_a_batch_size_that_cannot_be():
    with pytest.raises(ConfigError, match="batch_size=0"):
        StaticEmbedder(batch_size=0)
