"""LlamaIndex with the real package."""

import asyncio
import json
import pickle

import numpy as np
import pytest

from alignkit.errors import ConfigError

TEXTS = ["where is my parcel", "how do i reset my password", "book a table for two", "what is the weather tomorrow"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_index_of_the_teachers_nodes_is_searched_by_the_head(near_head, expected, tmp_path):
    from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
    from llama_index.core.schema import TextNode

    from alignkit.frameworks.llama_index import AlignkitEmbedding

    embedding = AlignkitEmbedding(near_head)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), expected["teacher"], atol=1e-6)
    np.testing.assert_allclose(embedding.get_query_embedding(TEXTS[0]), expected["queries"][0], atol=1e-6)
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=embedding)
    found = index.as_retriever(similarity_top_k=1).retrieve("my parcel, where is it")
    assert [one.node.text for one in found] == TEXTS[:1]
    index.storage_context.persist(str(tmp_path))
    again = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(tmp_path)), embed_model=embedding)
    retriever = again.as_retriever(similarity_top_k=1)
    found = asyncio.run(retriever.aretrieve("reset the password"))
    assert [one.node.text for one in found] == TEXTS[1:2]
    assert asyncio.run(embedding.aget_text_embedding_batch(TEXTS)) == embedding.get_text_embedding_batch(TEXTS)


def test_what_it_tells_of_itself_builds_it_again(near_head, expected):
    from alignkit.frameworks.llama_index import AlignkitEmbedding

    embedding = AlignkitEmbedding(near_head, student="static", documents="head")
    said = json.loads(embedding.to_json())
    assert said["class_name"] == "AlignkitEmbedding"
    for again in (AlignkitEmbedding.from_dict(said), pickle.loads(pickle.dumps(embedding))):
        assert again.model_name == str(near_head)
        np.testing.assert_allclose(again.get_text_embedding(TEXTS[0]), expected["head"][0], atol=1e-6)
    with pytest.raises(ConfigError, match="student: a function cannot be stored"):
        pickle.dumps(AlignkitEmbedding(near_head, student=lambda texts: texts))


def test_a_setting_that_would_do_nothing_is_refused(near_head):
    from alignkit.frameworks.llama_index import AlignkitEmbedding

    with pytest.raises(ConfigError, match="has no setting 'techer'; it has .*; did you mean teacher?"):
        AlignkitEmbedding(near_head, techer="minilm")
    embedding = AlignkitEmbedding(near_head, embed_batch_size=7)
    assert embedding.embed_batch_size == 7
    with pytest.raises(ValueError, match="frozen"):
        embedding.documents = "head"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_recipe(follow):
    follow("LlamaIndex")
