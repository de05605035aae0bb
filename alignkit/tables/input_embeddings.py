"""The teacher's input embeddings, out of its own file: a table for no call at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit.embedders.base import Embedder
from alignkit.embedders.model_folders import model_folder
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table_files import TOKENIZER, read_tokenizer
from alignkit.embedders.tensors import tensor, tensor_names
from alignkit.embedders.token_table import TokenTable
from alignkit.enabling.cards import files_of
from alignkit.enabling.ollama_server import OllamaServer
from alignkit.enabling.weights import file_of_model
from alignkit.errors import AlignkitError, ConfigError, DataError, EmbedderError
from alignkit.gguf_files.token_rows import TokenRows

# what the architectures call them; some checkpoints have a prefix before it
TENSORS = ("embeddings.word_embeddings.weight", "embed_tokens.weight", "wte.weight", "shared.weight")
SETTING = "tables=input_embeddings"
INSTEAD = "give the model's GGUF file itself, as in tables=[teacher,FILE.gguf]"


def input_rows(teacher: Embedder, words: Sequence[str]) -> np.ndarray:
    """The mean of the teacher's input embeddings of each word's tokens, `(N, D)` float32; zero where there are none.

    Raises:
        ConfigError: if the teacher's files are not on this machine.
        AlignkitError: if they hold no input embeddings that can be read.
    """
    if isinstance(teacher, OllamaEmbedder):
        return gguf_rows(_file_in_ollama(teacher), words)
    if not isinstance(teacher, SentenceTransformerEmbedder):
        kind = type(teacher).__name__.removesuffix("Embedder")
        raise ConfigError(f"{SETTING}: the files of a teacher behind {kind} are not at hand; {INSTEAD}")
    folder = model_folder(teacher.model)
    if folder is None:
        raise ConfigError(f"{SETTING}: '{teacher.model}' is not on this machine yet; embed a text with it first")
    means, has_tokens = _of_folder(folder).means(words)
    return means * has_tokens[:, None]


def gguf_rows(file: Path, words: Sequence[str]) -> np.ndarray:
    """The same from a GGUF file.

    Raises:
        DataError: if it is damaged or holds none.
    """
    try:
        return TokenRows(file).means(words)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); {INSTEAD}") from None


def _file_in_ollama(teacher: OllamaEmbedder) -> Path:
    with OllamaServer(str(teacher.provenance()["base_url"])) as server:
        card = server.card(teacher.model)
        if card is None:
            raise EmbedderError(f"{server.where} has no model '{teacher.model}'; run: ollama pull {teacher.model}")
        try:
            return file_of_model(teacher.model, files_of(card), server, "")
        except AlignkitError as error:
            reason = str(error).partition(";")[0]
            raise ConfigError(f"{SETTING}: {reason}; {INSTEAD}") from None


def _of_folder(folder: Path) -> TokenTable:
    tokenizers = [path for path in (folder / TOKENIZER, *sorted(folder.glob(f"*/{TOKENIZER}"))) if path.is_file()]
    if not tokenizers:
        raise EmbedderError(f"{SETTING}: {folder} has no {TOKENIZER}; {INSTEAD}")
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
    raise EmbedderError(f"{SETTING}: {place} has no tensor such as {TENSORS[0]} as safetensors; {INSTEAD}")
