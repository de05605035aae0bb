"""The files of a token table in a folder: sentence-transformers' StaticEmbedding, or model2vec's format."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.embedders.digests import file_digest
from alignkit.embedders.tensors import tensor, tensor_names
from alignkit.embedders.token_table import TokenTable
from alignkit.errors import DataError, EmbedderError
from alignkit.extras import needing
from alignkit.servers.untrusted_words import one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS, TOKENIZER, CONFIG, MODULES = "model.safetensors", "tokenizer.json", "config.json", "modules.json"
PICKLED = "pytorch_model.bin"
# what the two formats call the rows
SENTENCE_TRANSFORMERS, MODEL2VEC = "embedding.weight", "embeddings"
EXPECTED = (
    "expected a folder with model.safetensors and tokenizer.json, as sentence-transformers' StaticEmbedding or "
    "model2vec saves a token table"
)


@dataclass(frozen=True)
class TableFiles:
    """Where a table's rows and its tokenizer are.

    Attributes:
        weights: safetensors.
        tokenizer: of the package tokenizers, JSON.
    """

    weights: Path
    tokenizer: Path

    def digest(self) -> str:
        """SHA-256 over both files, wherever they are.

        Raises:
            EmbedderError: if one cannot be read.
        """
        try:
            lines = [file_digest(self.weights), file_digest(self.tokenizer)]
        except OSError as error:
            raise EmbedderError(f"{error.filename}: cannot be read ({error.strerror})") from None
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self) -> TokenTable:
        """The table, with model2vec's weights folded into its rows.

        Raises:
            EmbedderError: if a file is damaged, or the two do not belong together.
        """
        tokenizer = read_tokenizer(self.tokenizer)
        try:
            rows, of_model2vec = self._rows()
        except DataError as error:
            raise EmbedderError(str(error)) from None
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= len(rows):
            raise EmbedderError(
                f"{self.weights} has {len(rows):,} rows, but {self.tokenizer.name} beside it has token ids up to "
                f"{largest:,}: they are not of one model; copy the folder again"
            )
        if not np.isfinite(rows).all():
            raise EmbedderError(f"{self.weights} holds numbers that are NaN or Inf; it is damaged, copy it again")
        # model2vec leaves the unknown token out, sentence-transformers does not
        return TokenTable(rows, tokenizer, unknown_token(tokenizer) if of_model2vec else None)

    def _rows(self) -> tuple[np.ndarray, bool]:
        names = tensor_names(self.weights)
        if SENTENCE_TRANSFORMERS in names:
            return _matrix(self.weights, SENTENCE_TRANSFORMERS), False
        if MODEL2VEC not in names:
            if len(names) == 1:  # a bare table, as WordLlama's
                return _matrix(self.weights, names[0]), False
            raise DataError(
                f"{self.weights} holds no token table but {len(names)} tensors ({', '.join(names[:2])} …), as a "
                "transformer has them; use it with student=sentence_transformer and student.model=FOLDER"
            )
        rows = _matrix(self.weights, MODEL2VEC)
        if "mapping" in names:
            places = tensor(self.weights, "mapping").astype(np.int64)
            if places.ndim != 1 or (len(places) and not 0 <= places.min() <= places.max() < len(rows)):
                raise DataError(f"{self.weights}: its mapping names rows that are not among its {len(rows):,}")
            rows = rows[places]
        if "weights" in names:
            weights = tensor(self.weights, "weights")
            if weights.shape != (len(rows),):
                raise DataError(f"{self.weights}: {weights.shape} weights for {len(rows):,} tokens; copy it again")
            rows = rows * weights[:, None]
        return rows, True


def find_table(folder: Path) -> TableFiles:
    """The files of the table in a folder, at its top or where its `modules.json` says.

    Raises:
        EmbedderError: if there is none; the message says what the folder is instead, and the way out.
    """
    if not folder.is_dir():
        raise EmbedderError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; {EXPECTED}")
    modules = _modules(folder)
    if modules and not str(modules[0].get("type", "")).endswith("StaticEmbedding"):
        kind = one_line(str(modules[0].get("type", "")).rpartition(".")[2], 40)
        raise EmbedderError(
            f"{folder} holds no token table: its first module is {kind}; use it with student=sentence_transformer "
            "and student.model=FOLDER"
        )
    kinds = {str(module.get("type", "")).rpartition(".")[2] for module in modules[1:]} - {"Normalize"}
    if kinds:
        raise EmbedderError(
            f"{folder} is a token table followed by {', '.join(map(one_line, sorted(kinds)))}; use it with "
            "student=sentence_transformer and student.model=FOLDER, which runs all its modules"
        )
    inside = str(modules[0].get("path", "")) if modules else ""
    places = [folder / inside, folder, folder / "0_StaticEmbedding"]
    for place in places:
        if (place / WEIGHTS).is_file() and (place / TOKENIZER).is_file():
            _refuse_transformer(place)
            return TableFiles(place / WEIGHTS, place / TOKENIZER)
    lacking = [name for name in (WEIGHTS, TOKENIZER) if not any((place / name).is_file() for place in places)]
    if WEIGHTS in lacking and any((place / PICKLED).is_file() for place in places):
        raise EmbedderError(
            f"{folder} holds its table as {PICKLED}, which is pickled code and never loaded here; save it as "
            "safetensors: SentenceTransformer(FOLDER).save_pretrained(FOLDER)"
        )
    raise EmbedderError(f"{folder} has no {' and no '.join(lacking)}; {EXPECTED}")


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that truncates and pads nothing.

    Raises:
        EmbedderError: if the file is damaged.
    """
    with needing("local"):
        from tokenizers import Tokenizer
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 -- the package raises nothing narrower
        raise EmbedderError(f"{path}: not a readable tokenizer ({one_line(error, 80)}); copy it again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what is not in the vocabulary; None if the tokenizer has none."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("type") == "Unigram":
        found: int | None = model.get("unk_id")
        return found
    named = model.get("unk_token")
    return None if named is None else tokenizer.token_to_id(named)


def _matrix(path: Path, name: str) -> np.ndarray:
    rows = tensor(path, name)
    if rows.ndim != 2 or 0 in rows.shape:
        raise DataError(f"{path}: '{name}' has the shape {rows.shape}, expected one row a token")
    return rows


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((folder / MODULES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise EmbedderError(
            f"{folder / MODULES}: not readable ({one_line(error, 80)}); copy the folder again"
        ) from None
    if not isinstance(found, list) or not all(isinstance(module, dict) for module in found):
        raise EmbedderError(f"{folder / MODULES}: expected a list of modules; copy the folder again")
    return found


def _refuse_transformer(place: Path) -> None:
    """A transformer's folder has the same two files; its `config.json` tells it apart before anything large is read."""
    try:
        config = json.loads((place / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(config, dict) and ("num_hidden_layers" in config or "architectures" in config):
        if config.get("architectures") == ["StaticModel"]:
            return
        raise EmbedderError(
            f"{place} holds a transformer, not a token table; use it with student=sentence_transformer and "
            "student.model=FOLDER"
        )
