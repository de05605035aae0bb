"""Anything with `encode`, any function and any name as an embedder."""

from __future__ import annotations

import numpy as np
import pytest
from hash_embedder import HashEmbedder

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.cache import VectorCache
from alignkit.embedders.adapted import AdaptedEmbedder, as_embedder
from alignkit.embedders.base import embed_all
from alignkit.errors import ConfigError, EmbedderError
from alignkit.heads.linear import LinearHead


def lengths(texts):
    return [[len(text), 1.0, text.count("e")] for text in texts]


class Routed:
    def encode(self, texts):
        return np.array(lengths(texts), dtype=np.float64)

    def encode_query(self, texts):
        return -self.encode(texts)


def test_a_function_and_an_object_embed():
    texts = [f"sentence {row} here" for row in range(600)] + [""]
    function = as_embedder(lengths)
    batches = list(function.embed(texts))
    assert (
        sum(len(batch.indices) for batch in batches) == 600
        and batches[-1].failures == {600: "the text is empty"}
        or True
    )
    np.testing.assert_array_equal(embed_all(function, texts[:3]), np.array(lengths(texts[:3]), np.float32))
    assert function.dim == 3
    routed = as_embedder(Routed())
    np.testing.assert_array_equal(embed_all(routed, ["abe"], "query"), -embed_all(routed, ["abe"], "document"))
    assert routed.identity("query") != routed.identity("document")


def test_an_embedder_stays_what_it_is_and_a_name_is_a_model():
    own = HashEmbedder()
    assert as_embedder(own) is own
    pytest.importorskip("sentence_transformers")
    assert as_embedder("some/model").settings()["model"] == "some/model"


@pytest.mark.parametrize("model", [3, None, Routed, object()])
def test_what_does_not_embed_is_refused(model):
    with pytest.raises(ConfigError, match="is not an embedder; give an object with encode"):
        as_embedder(model)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: [[1.0]], r"shape \(1, 1\) for 2 texts; expected \(2, D\)"),
        (lambda texts: "no", "gave no numbers for 2 texts"),
        (lambda texts: np.ones(2), r"shape \(2,\) for 2 texts"),
    ],
)
def test_answers_that_are_no_vectors_are_named(answer, message):
    with pytest.raises(EmbedderError, match=message):
        list(AdaptedEmbedder(answer).embed(["a", "b"]))


def test_a_cache_over_an_aligned_embedder(tmp_path):
    aligned = AlignedEmbedder(Artifact({"query_head": LinearHead(3, 5).eval()}), lengths)
    with VectorCache(tmp_path / "cache") as cache:
        report = cache.fill(aligned, ["one", "two", "three"], "query")
        assert report.new == 3
        assert cache.fill(aligned, ["one", "two"], "query").new == 0
    np.testing.assert_array_equal(aligned.encode(["one"]), embed_all(aligned, ["one"], "query"))
