"""A candidate that is the average of others is put together from what they became, and takes no fit of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from alignkit.heads.base import Head
from alignkit.pairs.base import PairSplits
from alignkit.training.fit import Fitter


def members_of(candidates: Mapping[str, Fitter], splits: PairSplits) -> dict[str, tuple[str, ...]]:
    """Of each candidate that is the average of other candidates, their names.

    Args:
        candidates: name → how it is fitted.
        splits: the pairs, for their widths.
    """
    heads = {name: _unfitted(fitter, splits) for name, fitter in candidates.items()}

    def candidate_for(member: Head, average: Fitter) -> str | None:
        for name, head in heads.items():
            same = type(head) is type(member) and head.arguments() == member.arguments()
            fitter = candidates[name]
            if same and fitter.init == average.init and (fitter.is_solved or _trained_alike(fitter, average)):
                return name
        return None

    found = {}
    for name, head in heads.items():
        names = [candidate_for(member, candidates[name]) for member in head.members()]
        if names and None not in names:
            found[name] = tuple(str(one) for one in names)
    return found


def put_together(fitter: Fitter, members: Sequence[Head], pairs: PairSplits) -> Head:
    """The average of heads that were fitted on the train split.

    Args:
        fitter: of the average.
        members: as `members_of` names them.
        pairs: whose validation split weighs the members.
    """
    head = _unfitted(fitter, pairs)
    head.take_over(members, torch.from_numpy(np.array(pairs.validation.student[:], dtype=np.float32)))
    return head.eval().requires_grad_(False)


def _unfitted(fitter: Fitter, pairs: PairSplits) -> Head:
    torch.manual_seed(fitter.seed)
    return fitter.make_head(student_dim=pairs.train.student_dim, teacher_dim=pairs.train.teacher_dim)


def _trained_alike(fitter: Fitter, average: Fitter) -> bool:
    return fitter.recipe == average.recipe and type(fitter.loss) is type(average.loss)
