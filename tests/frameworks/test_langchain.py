"""LangChain with the real package."""

import asyncio
import pickle

import numpy as np
import pytest

from alignkit.errors import ConfigError

TEXTS = ["where is my parcel", "how do i reset my password", "book a table for two", "what is the weather tomorrow"]


def test_a_store_of_the_teachers_documents_is_searched_by_the_head(near_head, expected):
    from langchain_core.vectorstores import InMemoryVectorStore

    from alignkit.frameworks.langchain import AlignkitEmbeddings

    embeddings = AlignkitEmbeddings(near_head)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected["teacher"], atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), expected["queries"][0], atol=1e-6)
    assert embeddings.embed_documents([]) == []
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    assert store.similarity_search("my parcel, where is it", k=1)[0].page_content == TEXTS[0]
    # a whole path through LangChain's own machinery, asynchronous
    found = asyncio.run(store.as_retriever(search_kwargs={"k": 1}).ainvoke("reset the password"))
    assert found[0].page_content == TEXTS[1]
    assert asyncio.run(embeddings.aembed_documents(TEXTS[:1])) == embeddings.embed_documents(TEXTS[:1])


def test_it_travels_to_another_process_without_its_models(near_head):
    from alignkit.frameworks.langchain import AlignkitEmbeddings

    embeddings = AlignkitEmbeddings(near_head, teacher={"embedder": "static", "batch_size": 2})
    vector = embeddings.embed_query(TEXTS[0])
    stored = pickle.dumps(embeddings)
    assert len(stored) < 1000
    assert pickle.loads(stored).embed_query(TEXTS[0]) == vector
    with pytest.raises(ConfigError, match="teacher: a list cannot be stored"):
        pickle.dumps(AlignkitEmbeddings(near_head, teacher=[]))


def test_its_recipe(follow):
    follow("LangChain")
