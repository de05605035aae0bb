"""Folds an affine map of a head's output into the head's last layers, so that a query costs no more than before."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from alignkit.heads.base import Head


@torch.no_grad()
def fold_output(head: Head, weight: Tensor, bias: Tensor) -> Head:
    """A head that gives `weight · head(s) + bias`, of the same kind and size.

    Args:
        head: is left as it is.
        weight: `(teacher_dim, teacher_dim)`.
        bias: `(teacher_dim,)`.

    Returns:
        A copy in evaluation mode.
    """
    folded = copy.deepcopy(head).eval().requires_grad_(False)
    weight, bias = weight.double(), bias.double()
    for layer in folded.output_layers():
        # a layer may hold several maps one below the other, of which a mixture takes a weighted mean
        maps = layer.weight.double().view(-1, head.teacher_dim, layer.in_features)
        layer.weight.copy_((weight.to(maps.device) @ maps).reshape(layer.weight.shape))
        if layer.bias is not None:
            biases = layer.bias.double().view(-1, head.teacher_dim)
            layer.bias.copy_((biases @ weight.T.to(biases.device)).flatten())
    with_bias = next(layer for layer in folded.output_layers() if layer.bias is not None)
    with_bias.bias.add_(bias.to(with_bias.bias))
    return folded
