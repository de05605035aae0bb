"""Which tokens a head saw in training, where its student is a table: the row of any other token taught it nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.embedders.base import Embedder
from alignkit.embedders.distilled import DistilledEmbedder, is_distilled
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import AlignkitError
from alignkit.resources.demo_pack import TABLE, is_packed_table

if TYPE_CHECKING:
    from alignkit.embedders.token_table import TokenTable

TRAINING_TOKENS = "training_tokens.npy"


def seen_tokens(texts: Sequence[str], student: Mapping[str, Any] | None, run: Path) -> np.ndarray | None:
    """Ids of the tokens that some texts have, ascending uint64.

    Args:
        texts: that the head is trained on.
        student: identity of its student.
        run: beside whose head a student that was trained with it lies.

    Returns:
        `None` where the student is no table, or its identity does not tell where the table is: in a package, in the
        demo pack, or in the run.
    """
    with suppress(AlignkitError):
        table = None if student is None else token_table(_embedder_of(student, run))
        if table is not None:
            return np.unique(table.tokens(texts)[0]).astype(np.uint64)
    return None


def new_tokens(table: TokenTable, texts: Sequence[str], seen: np.ndarray) -> np.ndarray:
    """`(N, 2)`: tokens of each text that were not seen in training, and all its tokens."""
    tokens, counts = table.tokens(texts)
    is_new = np.append(0, np.cumsum(~np.isin(tokens.astype(np.uint64), seen)))
    ends = np.append(0, np.cumsum(counts))
    return np.stack([np.diff(is_new[ends]), counts], axis=1)


def token_table(embedder: object) -> TokenTable | None:
    """The table of an embedder that is one."""
    return getattr(embedder, "table", None)


def _embedder_of(identity: Mapping[str, Any], run: Path) -> Embedder | None:
    if is_packed_table(identity):
        return TableEmbedder(TABLE)
    if is_distilled(identity):
        return DistilledEmbedder(run)
    return StaticEmbedder() if identity.get("backend") == "static" else None
