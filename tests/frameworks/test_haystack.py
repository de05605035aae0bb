"""Haystack with the real package."""

import asyncio

import numpy as np
import pytest

from alignkit.embedders.static import StaticEmbedder
from alignkit.errors import ConfigError

TEXTS = ["where is my parcel", "how do i reset my password", "book a table for two", "what is the weather tomorrow"]


def test_a_pipeline_indexes_by_the_teacher_and_asks_by_the_head(near_head, expected):
    from haystack import Document, Pipeline
    from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
    from haystack.components.writers import DocumentWriter
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from alignkit.frameworks.haystack import AlignkitDocumentEmbedder, AlignkitTextEmbedder

    store = InMemoryDocumentStore()
    indexing = Pipeline()
    indexing.add_component("embedder", AlignkitDocumentEmbedder(near_head))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("embedder.documents", "writer.documents")
    indexing = Pipeline.loads(indexing.dumps(), allowed_modules=["alignkit.*"])
    indexing.get_component("writer").document_store = store
    documents = [Document(content=text) for text in TEXTS]
    assert indexing.run({"embedder": {"documents": documents}})["writer"]["documents_written"] == 4
    assert documents[0].embedding is None  # what was handed in stays as it was
    stored = {one.content: one.embedding for one in store.filter_documents()}
    np.testing.assert_allclose([stored[text] for text in TEXTS], expected["teacher"], atol=1e-6)

    asking = Pipeline()
    asking.add_component("embedder", AlignkitTextEmbedder(near_head, student="static"))
    asking.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    asking.connect("embedder.embedding", "retriever.query_embedding")
    question = {"embedder": {"text": "my parcel, where is it"}}
    assert asking.run(question)["retriever"]["documents"][0].content == TEXTS[0]
    assert asyncio.run(asking.run_async(question))["retriever"]["documents"][0].content == TEXTS[0]


def test_a_stored_component_is_the_same_and_holds_no_model(near_head, expected):
    from haystack import Document, Pipeline

    from alignkit.frameworks.haystack import AlignkitDocumentEmbedder, AlignkitTextEmbedder

    pipeline = Pipeline()
    given = AlignkitDocumentEmbedder(
        near_head, "static", documents="head", meta_fields_to_embed=["title"], embedding_separator=": "
    )
    pipeline.add_component("documents", given)
    pipeline.add_component("text", AlignkitTextEmbedder(near_head))
    pipeline.warm_up()
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["alignkit.*"])
    assert again.to_dict() == pipeline.to_dict()
    embedder = again.get_component("documents")
    bare, titled = embedder.run([Document(content=TEXTS[0]), Document(content="parcel", meta={"title": "where"})])[
        "documents"
    ]
    np.testing.assert_allclose(bare.embedding, expected["head"][0], atol=1e-6)
    same = embedder.run([Document(content="where: parcel")])["documents"][0]
    np.testing.assert_allclose(titled.embedding, same.embedding, atol=1e-6)
    assert embedder.run([])["documents"] == []
    with pytest.raises(ConfigError, match="student: a StaticEmbedder cannot be stored"):
        AlignkitTextEmbedder(near_head, StaticEmbedder()).to_dict()


def test_a_mix_up_of_the_two_components_is_told(near_head):
    from haystack import Document

    from alignkit.frameworks.haystack import AlignkitDocumentEmbedder, AlignkitTextEmbedder

    with pytest.raises(ConfigError, match="expected a text, got a list; AlignkitDocumentEmbedder embeds documents"):
        AlignkitTextEmbedder(near_head).run([Document(content="a")])
    with pytest.raises(ConfigError, match="expected a list of Document; AlignkitTextEmbedder embeds a query"):
        AlignkitDocumentEmbedder(near_head).run("a")


def test_its_recipe(follow):
    follow("Haystack")
