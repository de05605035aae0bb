"""Make the demo pack's table again from the CLINC150 sentences: python -m alignkit.tables.demo_table FOLDER.

FOLDER holds `train.jsonl`, as for `alignkit.resources.rebuild_demo`, which makes the rest of the pack. Needs the extra
`local`. The sentences of the pack are left out: nothing that is trained or tested on in the demo was seen here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit.embedders.base import embed_all
from alignkit.embedders.minilm import MinilmEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.embedders.table_files import MODEL2VEC, TOKENIZER, WEIGHTS
from alignkit.embedders.token_table import TokenTable
from alignkit.resources.demo_pack import PACK, TABLE, about_pack
from alignkit.sentences.normalise import normalise_text
from alignkit.tables.making import make_table

# words that the teacher is asked for, and columns: what a package may weigh
ENTRIES, WIDTH = 8_000, 256
MOST = 127  # of an int8, of either sign


def rebuild(folder: Path) -> None:
    """Make the table of the teacher's vectors of words and of the sentences, and embed the pack with it."""
    packed, others = texts_of(PACK / "sentences.jsonl"), other_texts(folder / "train.jsonl")
    with tempfile.TemporaryDirectory() as place:
        teacher, cache_dir = MinilmEmbedder(), Path(place) / "cache"
        vectors = embed_all(teacher, others)
        made = make_table(others, teacher, cache_dir, Path(place) / "table", vectors=vectors, budget=ENTRIES)
        save_small(TABLE, TableEmbedder(made.folder).table, others)
    student = TableEmbedder(TABLE)
    np.save(PACK / f"{TABLE.name}.npy", embed_all(student, packed).astype(np.float16))
    about = about_pack()
    about["identities"][TABLE.name] = student.identity()
    (PACK / "pack.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")


def texts_of(file: Path) -> list[str]:
    """The texts of a file of records."""
    return [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]


def other_texts(file: Path) -> list[str]:
    """Those that do not stand in the pack, by `normalise_text`."""
    taken = set(map(normalise_text, texts_of(PACK / "sentences.jsonl")))
    return [text for text in texts_of(file) if normalise_text(text) not in taken]


def save_small(folder: Path, table: TokenTable, texts: Sequence[str]) -> None:
    """Save a table in a sixth of its size, in model2vec's format: fewer columns, and bytes with a weight a row.

    Args:
        folder: of the files.
        table: what is saved.
        texts: the columns that are kept are the principal components of their vectors.
    """
    from safetensors.numpy import save

    means = table.means(texts)[0]
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    axes = np.linalg.eigh((means.T @ means).astype(np.float64))[1][:, ::-1]
    rows = table.rows @ axes[:, :WIDTH].astype(np.float32)
    weights = np.abs(rows).max(axis=1) / MOST
    whole = np.rint(rows / np.maximum(weights, np.finfo(np.float32).tiny)[:, None]).astype(np.int8)
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS).write_bytes(save({MODEL2VEC: whole, "weights": weights}))
    (folder / TOKENIZER).write_text(table.tokenizer.to_str(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    rebuild(parser.parse_args().folder)
