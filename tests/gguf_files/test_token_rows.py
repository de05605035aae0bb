"""Input embeddings of a model's file, held against the package gguf."""

import gguf
import numpy as np
import pytest

from alignkit.errors import AlignkitError, DataError
from alignkit.gguf_files.token_rows import TokenRows

SENTENCEPIECE = ["<unk>", "\u2581par", "\u2581parcel", "s", "\u2581", "x", "\u2581\u4f60", "\u597d", "par"]
BYTE_LEVEL = ["par", "\u0120par", "cel", "\u0120parcel", "\u00e4\u00bd\u0142", "\u0120\u00e4\u00bd\u0142", "s"]


def write(path, tokens, model, kind=gguf.GGMLQuantizationType.F16, width=256):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_tokenizer_model(model)
    writer.add_array("tokenizer.ggml.tokens", tokens)
    rows = np.random.default_rng(0).normal(size=(len(tokens), width)).astype(np.float32)
    writer.add_tensor("first.weight", np.ones(7, np.float32))
    writer.add_tensor("token_embd.weight", gguf.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.dequantize(gguf.quantize(rows, kind), kind)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_a_words_row_is_the_mean_of_its_tokens(tmp_path, kind):
    rows = write(tmp_path / "m.gguf", SENTENCEPIECE, "llama", gguf.GGMLQuantizationType[kind])
    found = TokenRows(tmp_path / "m.gguf").means(["parcel", "parcels", "\u4f60\u597d", "\u00df", "", "parx"])
    expected = [rows[[2]], rows[[2, 3]], rows[[6, 7]], None, None, rows[[1, 5]]]
    wanted = [np.zeros(256) if part is None else part.mean(axis=0) for part in expected]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_byte_level_vocabulary(tmp_path):
    write(tmp_path / "m.gguf", BYTE_LEVEL, "gpt2")
    table = TokenRows(tmp_path / "m.gguf")
    assert [table.tokens_of(word) for word in ("parcel", "parcels", "parpar", "\u4f60")] == [[3], [3, 6], [1, 0], [5]]


def test_a_file_without_them(tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(AlignkitError, match="not a GGUF file"):
        TokenRows(tmp_path / "text.gguf")
    write(tmp_path / "m.gguf", SENTENCEPIECE, "llama")
    content = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(content[:-2000])
    with pytest.raises(DataError, match="input embeddings cannot be read .* copy it again"):
        TokenRows(tmp_path / "m.gguf").means(["parcel"])
    (tmp_path / "n.gguf").write_bytes(content.replace(b"token_embd.weight", b"token_embx.weight"))
    with pytest.raises(DataError, match="no tokens with input embeddings"):
        TokenRows(tmp_path / "n.gguf")
