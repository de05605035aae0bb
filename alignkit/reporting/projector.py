"""Vectors for TensorBoard's embedding projector: three files in a folder of events.

torch's `SummaryWriter.add_embedding` writes such files one component at a time, which takes longer than the fit of a
head, and into a folder `00000`, a name that says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

FOLDER = "projector"


def write_projector(
    folder: Path, tag: str, vectors: np.ndarray, labels: Sequence[Sequence[str]], header: Sequence[str]
) -> None:
    """Write vectors and their labels where TensorBoard looks for them.

    Args:
        folder: of the events; it is there.
        tag: the name of the vectors, with which their files begin.
        vectors: `(N, D)` float64, finite.
        labels: N rows of texts without tabs and line breaks.
        header: what each text of a row is.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    rows = orjson.dumps(np.ascontiguousarray(vectors), option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    (place / f"{tag}.tsv").write_bytes(rows.replace(b"],[", b"\n").replace(b",", b"\t") + b"\n")
    lines = "".join("\t".join(row) + "\n" for row in (header, *labels))
    (place / f"{tag}_labels.tsv").write_bytes(lines.encode("utf-8", "replace"))
    (folder / "projector_config.pbtxt").write_text(
        f'embeddings {{\n  tensor_name: "{tag}"\n  tensor_path: "{FOLDER}/{tag}.tsv"\n'
        f'  metadata_path: "{FOLDER}/{tag}_labels.tsv"\n}}\n',
        encoding="utf-8",
    )
