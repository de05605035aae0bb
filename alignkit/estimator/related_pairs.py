"""Whether new pairs are of the models that an earlier head was fitted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alignkit.artifact import Artifact
from alignkit.errors import DataError
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.setting_names import SIDES
from alignkit.vectors import cosine, l2_normalize

# of what the head gives and the teacher's vectors, about the teacher's mean. Real pairs of one student and teacher are
# above .3 even on texts of another kind; vectors that have nothing to do with each other give 0
RELATED = 0.05
COMPARED = 1_000


def check_same_models(run: Path, artifact: Artifact, teacher_mean: Tensor, splits: PairSplits) -> None:
    """Refuse pairs of another student or teacher.

    Args:
        run: of the head, for messages.
        artifact: the head.
        teacher_mean: `(teacher_dim,)` of the pairs that it was fitted on.
        splits: the new pairs.

    Raises:
        DataError: if widths or identities differ, or the vectors have nothing to do with each other.
    """
    widths = {"student": artifact.student_dim, "teacher": artifact.teacher_dim}
    known = {"student": artifact.student_identity, "teacher": artifact.teacher_identity}
    for side in SIDES:
        width = int(getattr(splits.train, side).shape[1])
        if width != widths[side]:
            raise DataError(
                f"update={run}: its {side} gives {widths[side]}-d vectors, these pairs have {width}-d ones; "
                "embed them with the same model"
            )
        if None not in (known[side], splits.origin.identity(side)) and known[side] != splits.origin.identity(side):
            raise DataError(
                f"update={run}: these pairs are of another {side} than its head was fitted for; embed them "
                "with the same model"
            )
    alike = _relation(artifact, teacher_mean, splits.train)
    if alike < RELATED:
        raise DataError(
            f"update={run}: what its head makes of these students has nothing in common with their teacher's "
            f"vectors (cosine about the mean {alike:.2f}); give vectors of the same student and teacher, row i of "
            "both the same sentence"
        )


def _relation(artifact: Artifact, mean: Tensor, pairs: Pairs) -> float:
    rows = sample_rows(len(pairs), COMPARED, 0).numpy()
    student, teacher = (np.asarray(side[rows], dtype=np.float32) for side in (pairs.student, pairs.teacher))
    aligned = torch.from_numpy(np.asarray(artifact.align(student, "document")))
    return float(cosine(l2_normalize(aligned) - mean, l2_normalize(torch.from_numpy(teacher)) - mean).mean())
