"""GGUF files of a few hundred bytes, written by the package `gguf`."""

import gguf
import numpy as np


def write_model(path, architecture="llama", order=gguf.GGUFEndian.LITTLE, alignment=None, **numbers):
    """A model without sense, of every kind of value that a header can hold.

    Args:
        path: of the file.
        architecture: `general.architecture`.
        order: of bytes.
        alignment: of the tensors.
        numbers: further keys of the architecture, such as pooling_type=0.
    """
    writer = gguf.GGUFWriter(str(path), architecture, endianess=order)
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_type("model")
    writer.add_context_length(512)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    for name, value in numbers.items():
        writer.add_uint32(f"{architecture}.{name}", value)
    writer.add_float32(f"{architecture}.rope.freq_base", 10000.0)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_array("tokenizer.ggml.tokens", ["a", "\u4f60\u597d", "", "b" * 300])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0, 0.0])
    writer.add_array("tokenizer.ggml.token_type", [1, 2, 3])
    writer.add_string("tokenizer.chat_template", "{{ messages }}\nFROM here")
    numbers_of = np.random.default_rng(0)
    writer.add_tensor("token_embd.weight", numbers_of.normal(size=(4, 16)).astype(np.float32))
    writer.add_tensor("output_norm.weight", numbers_of.normal(size=7).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
