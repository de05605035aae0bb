"""The copy of a real chat model, in a real llama-server."""

import pytest
from real_llama_server import chat_model, llama_server

from alignkit.embedders.base import embed_all
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.errors import EmbedderError
from alignkit.gguf_files.pooled_copy import PooledCopy

pytestmark = pytest.mark.server

TEXTS = [
    f"{text} {number}" for number in range(4) for text in ("reset my password", "\u4f60\u597d", "book a table for two")
]


def vectors_of(file, folder, *flags):
    with llama_server(file, folder, "--alias", "gemma", *flags) as url:
        embedder = OpenAIEmbedder("gemma", url)
        try:
            return embed_all(embedder, TEXTS)
        finally:
            embedder.close()


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_copy_pools_by_itself_as_the_model_does_when_told(tmp_path, pooling):
    file, made = chat_model(), tmp_path / "copy.gguf"
    with made.open("wb") as copy:
        copy.writelines(PooledCopy(file, pooling, {"alignkit.made_from": "sha256:ab"}).chunks())
    told, by_itself = vectors_of(file, tmp_path, "--pooling", pooling), vectors_of(made, tmp_path)
    assert told.shape == by_itself.shape == (len(TEXTS), 640)
    assert (told * by_itself).sum(axis=1).min() >= 0.9999


def test_the_model_itself_gives_no_vectors(tmp_path):
    with pytest.raises(EmbedderError, match="Pooling type 'none'"):
        vectors_of(chat_model(), tmp_path)
