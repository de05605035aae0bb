"""Chroma with the real package."""

import numpy as np
import pytest

from alignkit.embedders.static import StaticEmbedder
from alignkit.errors import ConfigError

TEXTS = ["where is my parcel", "how do i reset my password", "book a table for two", "what is the weather tomorrow"]


def client_of(folder):
    """A client that nothing is left of from an earlier one, as in another process."""
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient

    SharedSystemClient.clear_system_cache()
    return chromadb.PersistentClient(str(folder))


def test_a_collection_reopens_with_its_head(near_head, expected, tmp_path):
    from alignkit.frameworks.chroma import AlignkitEmbeddingFunction

    function = AlignkitEmbeddingFunction(near_head, teacher={"embedder": "static"})
    collection = client_of(tmp_path).create_collection("faq", embedding_function=function)
    collection.add(ids=list("abcd"), documents=TEXTS)
    stored = collection.get(include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(stored, expected["teacher"], atol=1e-6)
    reopened = client_of(tmp_path).get_collection("faq")  # no function is named
    found = reopened.query(query_texts=["my parcel, where is it", "reset the password"], n_results=1)
    assert found["ids"] == [["a"], ["b"]]
    assert found["distances"][0][0] < 1  # a cosine distance
    reopened.add(ids=["e"], documents=["cancel my order"])
    assert reopened.configuration["embedding_function"].get_config() == function.get_config()


def test_a_collection_opens_where_its_head_is_not_and_says_so_when_it_is_asked(near_head, tmp_path):
    from alignkit.frameworks.chroma import AlignkitEmbeddingFunction

    function = AlignkitEmbeddingFunction(tmp_path / "moved")
    client_of(tmp_path).create_collection("faq", embedding_function=function).add(
        ids=["a"], documents=["x"], embeddings=[[1.0] * 256]
    )
    reopened = client_of(tmp_path).get_collection("faq")
    assert reopened.get()["ids"] == ["a"]
    with pytest.raises(Exception, match=r"moved: no head.json there"):
        reopened.query(query_texts=["a"])
    named = client_of(tmp_path).get_collection("faq", embedding_function=AlignkitEmbeddingFunction(near_head))
    assert named.query(query_texts=["a"])["ids"] == [["a"]]


def test_what_a_collection_stores_is_a_name_and_no_secret(near_head):
    from alignkit.frameworks.chroma import AlignkitEmbeddingFunction

    with pytest.raises(ConfigError, match="student: a StaticEmbedder cannot be stored; give it by name"):
        AlignkitEmbeddingFunction(near_head, StaticEmbedder())
    with pytest.raises(ConfigError, match="base_url: holds a password or a key"):
        AlignkitEmbeddingFunction(
            near_head, teacher={"embedder": "openai", "model": "m", "base_url": "http://me:pass@host/v1"}
        )


def test_documents_of_one_collection_stay_of_one_kind(near_head):
    from alignkit.frameworks.chroma import AlignkitEmbeddingFunction

    def update(old, new):
        old, new = AlignkitEmbeddingFunction(**old), AlignkitEmbeddingFunction(**new)
        new.validate_config_update(old.get_config(), new.get_config())

    update({"head": "first"}, {"head": "second"})  # a better head for the teacher's index
    with pytest.raises(ConfigError, match="teacher: documents of this collection were embedded otherwise"):
        update({"head": "first"}, {"head": "first", "teacher": "minilm"})
    with pytest.raises(ConfigError, match="documents: documents"):
        update({"head": "first"}, {"head": "first", "documents": "head"})
    with pytest.raises(ConfigError, match="head: documents"):
        update({"head": "first", "documents": "head"}, {"head": "second", "documents": "head"})


def test_its_recipe(follow):
    follow("Chroma")
