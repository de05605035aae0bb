"""The teacher's input embeddings, out of its own file: a table for no call at all."""

from __future__ import annotations

from pathlib import Path

from alignkit.embedders.base import Embedder
from alignkit.embedders.model_folders import model_folder
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table_files import TOKENIZER, read_tokenizer
from alignkit.embedders.tensors import tensor, tensor_names
from alignkit.embedders.token_table import TokenTable
from alignkit.errors import ConfigError, DataError, EmbedderError

# what the architectures call them; some checkpoints have a prefix before it
TENSORS = ("embeddings.word_embeddings.weight", "embed_tokens.weight", "wte.weight", "shared.weight")
INSTEAD = "leave input_embeddings out of tables"


def teachers_table(teacher: Embedder) -> TokenTable:
    """The teacher's tokenizer with its input embeddings.

    Raises:
        ConfigError: if the teacher's files are not on this machine.
        EmbedderError: if they hold no input embeddings that can be read.
    """
    if not isinstance(teacher, SentenceTransformerEmbedder):
        kind = type(teacher).__name__.removesuffix("Embedder")
        raise ConfigError(f"tables=input_embeddings: the files of a teacher behind {kind} are not at hand; {INSTEAD}")
    folder = model_folder(teacher.model)
    if folder is None:
        raise ConfigError(f"tables=input_embeddings: '{teacher.model}' is not on this machine yet; embed once with it")
    return _of_folder(folder)


def _of_folder(folder: Path) -> TokenTable:
    tokenizers = [path for path in (folder / TOKENIZER, *sorted(folder.glob(f"*/{TOKENIZER}"))) if path.is_file()]
    if not tokenizers:
        raise EmbedderError(f"{folder} has no {TOKENIZER}, so its input embeddings cannot be read; {INSTEAD}")
    place = tokenizers[0].parent
    try:
        for file in sorted(place.glob("*.safetensors")):
            for name in tensor_names(file):
                if name.endswith(TENSORS):
                    tokenizer = read_tokenizer(tokenizers[0])
                    rows = tensor(file, name)
                    if rows.ndim == 2 and tokenizer.get_vocab_size() <= len(rows):
                        return TokenTable(rows, tokenizer)
    except DataError as error:
        raise EmbedderError(str(error)) from None
    raise EmbedderError(f"{place} holds no input embeddings as safetensors ({' or '.join(TENSORS[:2])}); {INSTEAD}")
