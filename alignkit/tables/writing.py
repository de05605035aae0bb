"""Writes a token table as one folder that sentence-transformers and model2vec both load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignkit.embedders.model_folders import SETTINGS, note_fitted
from alignkit.embedders.table_files import CONFIG, MODEL2VEC, MODULES, TOKENIZER, WEIGHTS
from alignkit.files import appearing_together

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def save_table(folder: Path, tokenizer: Tokenizer, rows: np.ndarray, *, fitted: bool = False) -> None:
    """Write a table.

    Args:
        folder: created if missing; a table that is there is replaced as a whole.
        tokenizer: without truncation and padding.
        rows: `(V, D)`, one for each of its tokens; stored as float32.
        fitted: whether they were fitted to texts, which the folder then says.

    Raises:
        AlignkitError: if the folder cannot be written.
    """
    from safetensors.numpy import save

    with appearing_together(folder) as staging:
        content = save({MODEL2VEC: np.ascontiguousarray(rows, dtype=np.float32)})
        (staging / WEIGHTS).write_bytes(content)
        (staging / TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")
        for name, settings in _settings().items():
            (staging / name).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        if fitted:
            note_fitted(staging)


def _settings() -> dict[str, object]:
    kinds = [("", "StaticEmbedding"), ("1_Normalize", "Normalize")]
    return {
        CONFIG: {
            "model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "max_length": None,
            "embedding_dtype": "float32",
        },
        MODULES: [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds)
        ],
        SETTINGS: {
            "model_type": "SentenceTransformer", "prompts": {}, "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }  # fmt: skip
