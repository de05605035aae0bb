"""The parts of a head out of the bytes of its file: read, and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

from alignkit.errors import ArtifactError, ConfigError
from alignkit.head_files import JSON_NAME
from alignkit.heads.stored_parts import StoredParts

if TYPE_CHECKING:
    import torch

    from alignkit.heads.base import Part

QUERY_HEAD, WHITENING, DOCUMENT_HEAD, CONFIDENCE = "query_head", "whitening", "document_head", "confidence"
# the length of a vector is the root of a sum of squares
LARGEST_WEIGHT = float(np.finfo(np.float32).max) ** 0.5
# what heads and torch raise where arguments, or numbers behind them, make no sense
UNFIT = (
    ArithmeticError,
    AttributeError,
    ConfigError,
    LookupError,
    MemoryError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


def stored_parts(described: Mapping[str, Any], weights: bytes) -> StoredParts | None:
    """The parts for NumPy; None if anything is unusual, or wrong, which torch then accepts, or names.

    Args:
        described: name → kind and arguments, as `head.json` has them.
        weights: the bytes of `head.safetensors`.
    """
    from safetensors.numpy import load

    try:
        tensors = load(weights)
        parts = StoredParts.read(described, tensors)
    except (*UNFIT, NotImplementedError):
        return None
    if parts is None or QUERY_HEAD not in parts:
        return None
    if any((parts.kind_of(part) == CONFIDENCE) != (part == CONFIDENCE) for part in parts):
        return None
    width = parts.dims_of(QUERY_HEAD)[1]
    if WHITENING in parts and (parts.kind_of(WHITENING), *parts.dims_of(WHITENING)) != ("linear", width, width):
        return None
    # NaN is not below anything
    sound = all(float(np.abs(array).max(initial=0)) <= LARGEST_WEIGHT for array in parts.tensors().values())
    return parts if sound else None


def built_parts(described: Mapping[str, Any], weights: bytes, name: str) -> dict[str, Part]:
    """The parts as modules of torch.

    Args:
        described: as `stored_parts` has it.
        weights: likewise.
        name: of the artifact, for messages.

    Raises:
        ArtifactError: if they are no head, or hold numbers that are not finite.
        Exception: one of `UNFIT`, where they do not fit together.
    """
    from safetensors.torch import load

    tensors = load(weights)
    parts = {part: _build(part, entry, tensors) for part, entry in described.items()}
    if QUERY_HEAD not in parts:
        raise ArtifactError(f"{name}: {JSON_NAME} names no {QUERY_HEAD}")
    check_finite(parts, name)
    _check_whitening(parts)
    return parts


def _build(name: str, entry: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Part:
    from alignkit.heads.building import build_part

    weights = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    try:
        return build_part(entry["kind"], entry["arguments"], weights)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check_whitening(parts: Mapping[str, Part]) -> None:
    """It is read as one matrix and a bias that fit behind the head."""
    part, head = parts.get(WHITENING), parts[QUERY_HEAD]
    width = getattr(head, "teacher_dim", None)
    of = part and (part.kind(), part.student_dim, getattr(part, "teacher_dim", 0))
    if of and of != ("linear", width, width):
        raise ValueError(f"{WHITENING}: expected a linear map of {width} numbers to as many")


def check_finite(parts: Mapping[str, Part], name: str) -> None:
    """Refuse numbers with which no vector would have a length.

    Args:
        parts: name → module.
        name: of the artifact, for messages.

    Raises:
        ArtifactError: if they are not finite, or their squares are not.
    """
    for part, module in parts.items():
        for key, tensor in module.state_dict().items():
            if not tensor.is_floating_point() or not tensor.numel():
                continue
            largest = float(tensor.abs().max())
            if not math.isfinite(largest):
                raise ArtifactError(
                    f"{name}: {part}'s {key} holds NaN or infinite numbers, with which every vector would be NaN; "
                    "train the head again, with a smaller lr or in float32"
                )
            if largest > LARGEST_WEIGHT:
                raise ArtifactError(
                    f"{name}: {part}'s {key} holds {largest:.2g}, whose square is infinite in float32, so that vectors "
                    f"would be zero or NaN; expected at most {LARGEST_WEIGHT:.2g}; train again, with a smaller lr"
                )
