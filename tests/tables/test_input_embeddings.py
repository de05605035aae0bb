"""The teacher's input embeddings as a table, out of the file behind a model in Ollama or a GGUF file that is given."""

import gguf
import numpy as np
import pytest
from enabling.own_ollama import OwnOllama

from alignkit.embedders.base import embed_all
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import AlignkitError
from alignkit.tables.input_embeddings import gguf_rows
from alignkit.tables.making import make_table

TEXTS = ["reset my password", "where is my parcel", "the parcel is late", "my password is wrong"] * 5
WORDS = ["reset", "my", "password", "where", "is", "parcel", "the", "late", "wrong"]


@pytest.fixture
def file(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "model.gguf"), "llama")
    writer.add_type("model")
    writer.add_block_count(1)
    writer.add_tokenizer_model("llama")
    writer.add_array("tokenizer.ggml.tokens", ["<unk>", *(f"\u2581{word}" for word in WORDS)])
    rows = np.random.default_rng(0).normal(size=(1 + len(WORDS), 32)).astype(np.float16)
    writer.add_tensor("token_embd.weight", rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "model.gguf"


def made(teacher, tmp_path, tables):
    report = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "table", tables=tables)
    assert (report.calls, report.width) == (0, 32)
    return TableEmbedder(report.folder)


def test_the_file_behind_a_model_in_ollama_is_found_and_no_vector_is_asked_for(tmp_path, file):
    with OwnOllama(tmp_path) as server:
        server.add("tiny", file)
        teacher = OllamaEmbedder("tiny", server.url)
        table = made(teacher, tmp_path, ["input_embeddings"])
        teacher.close()
        assert not [path for _, path, _ in server.asked if "embed" in path]
    words = ["parcel", "late", "where"]
    rows = gguf_rows(file, WORDS)
    found = embed_all(table, words)
    expected = (rows - rows.mean(0))[[WORDS.index(word) for word in words]]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=0.1)  # centred over letters' entries too


def test_a_file_that_cannot_be_read_here_says_what_to_give(tmp_path, file):
    with OwnOllama(tmp_path) as server:
        server.add("tiny", file)
        server.shown_paths = lambda path: f"/elsewhere{path}"
        teacher = OllamaEmbedder("tiny", server.url)
        with pytest.raises(AlignkitError, match=r"^tables=input_embeddings: .*as in tables=\[teacher,FILE\.gguf\]$"):
            made(teacher, tmp_path, ["input_embeddings"])
        teacher.close()


def test_a_file_is_given_for_a_teacher_behind_any_server(tmp_path, file):
    teacher = OpenAIEmbedder("tiny", "http://127.0.0.1:9/v1")
    with pytest.raises(AlignkitError, match=r"a teacher behind OpenAI are not at hand; give the model's GGUF file"):
        made(teacher, tmp_path, ["input_embeddings"])
    embed_all(made(teacher, tmp_path, [str(file)]), TEXTS)
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(AlignkitError, match="not a GGUF file"):
        made(teacher, tmp_path, [str(tmp_path / "text.gguf")])
    teacher.close()
