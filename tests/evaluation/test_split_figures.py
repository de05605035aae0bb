"""The row of a split that is shown beside the test split: its alignment is the head's, its overlap the query head's."""

from __future__ import annotations

import torch
from torch import nn

from alignkit.evaluation.split_figures import alignment_row


def test_alignment_is_measured_without_the_whitening_and_what_is_found_with_it(demo_head, demo_splits):
    pairs, mean = demo_splits.validation, torch.zeros(demo_splits.train.teacher_dim)
    torch.manual_seed(0)
    other = nn.Sequential(demo_head, nn.Linear(len(mean), len(mean)))
    plain, turned = alignment_row(demo_head, demo_head, pairs, mean), alignment_row(other, other, pairs, mean)
    both = alignment_row(demo_head, other, pairs, mean)
    assert plain["overlap@10"] != turned["overlap@10"] and plain["cosine_mean"] != turned["cosine_mean"]
    assert both.to_json() == {**plain.to_json(), "overlap@10": turned["overlap@10"]}
