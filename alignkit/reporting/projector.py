"""Vectors for TensorBoard's embedding projector: three files in a folder of events.

torch's `SummaryWriter.add_embedding` writes the same files, one component at a time, which takes longer than the fit of
a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

# the step of everything in a folder of events of ours
STEP = "00000"


def write_projector(
    folder: Path, tag: str, vectors: np.ndarray, labels: Sequence[Sequence[str]], header: Sequence[str]
) -> None:
    """Write vectors and their labels where TensorBoard looks for them.

    Args:
        folder: of the events; it is there.
        tag: the name of the vectors, which is a folder's too.
        vectors: `(N, D)` float64, finite.
        labels: N rows of texts without tabs and line breaks.
        header: what each text of a row is.
    """
    place = folder / STEP / tag
    place.mkdir(parents=True, exist_ok=True)
    rows = orjson.dumps(np.ascontiguousarray(vectors), option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    (place / "tensors.tsv").write_bytes(rows.replace(b"],[", b"\n").replace(b",", b"\t") + b"\n")
    lines = "".join("\t".join(row) + "\n" for row in (header, *labels))
    (place / "metadata.tsv").write_bytes(lines.encode("utf-8", "replace"))
    (folder / "projector_config.pbtxt").write_text(
        f'embeddings {{\n  tensor_name: "{tag}:{STEP}"\n  tensor_path: "{STEP}/{tag}/tensors.tsv"\n'
        f'  metadata_path: "{STEP}/{tag}/metadata.tsv"\n}}\n',
        encoding="utf-8",
    )
