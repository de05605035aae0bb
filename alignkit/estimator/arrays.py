"""Turn whatever holds vectors into checked arrays, and two such arrays into pairs in three splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.pairs.base import MIN_PAIRS, Origin, Pairs, PairSplits
from alignkit.pairs.vectors import group_rows
from alignkit.pairs.views import RowIds, take_pairs
from alignkit.sentences.splits import merge_groups, split_groups
from alignkit.setting_rules import check, number_from
from alignkit.vector_files import check_vectors

SHARES = dict.fromkeys(("validation", "test"), number_from(0, below=1))


def as_vectors(vectors: Any, name: str, width: int | None = None) -> np.ndarray:
    """An array of numbers, one row a vector; arrays and memory maps are not copied.

    Args:
        vectors: a NumPy array, a memory map, a torch tensor on any device, or nested lists.
        name: of the argument, for messages.
        width: that the vectors must have; `None` takes any.

    Returns:
        `(N, D)`, float16, float32 or float64.

    Raises:
        DataError: for another shape, values that are no numbers, NaN, Inf or zero rows; the message names the first.
    """
    if hasattr(vectors, "detach"):
        tensor = vectors.detach().cpu()
        # NumPy has no bfloat16
        vectors = (
            tensor if str(tensor.dtype) in ("torch.float16", "torch.float32", "torch.float64") else tensor.float()
        ).numpy()
    try:
        array = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    except ValueError as error:
        raise DataError(f"{name}: expected rows of equal length ({error})") from None
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"{name}: expected an array of shape (N, D), got {array.shape}; give one row a sentence")
    if array.dtype.kind in "iub":
        array = array.astype(np.float32)
    if array.dtype.kind != "f":
        raise DataError(f"{name}: expected numbers, got {array.dtype}; give vectors as float16, float32 or float64")
    if width is not None and array.shape[1] != width:
        raise DataError(f"{name}: {array.shape[1]}-d vectors, expected {width}-d; embed them with the same model")
    check_vectors(array, name)
    return array


def as_pairs(
    student: Any, teacher: Any, texts: Sequence[str] | None = None, labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None, names: tuple[str, str] = ("student_vectors", "teacher_vectors"),
    widths: tuple[int | None, int | None] = (None, None),
) -> Pairs:  # fmt: skip
    """Two arrays whose row i is the same sentence.

    Args:
        student: `(N, student_dim)`, see `as_vectors`.
        teacher: `(N, teacher_dim)`, see `as_vectors`.
        texts: the N sentences.
        labels: N names; equal ones are relevant to each other.
        groups: N names, for figures by group.
        names: of the two arguments, for messages.
        widths: that the vectors must have.

    Raises:
        DataError: if a part cannot be used, or the parts differ in length.
    """
    sides = zip((student, teacher), names, widths, strict=True)
    arrays = [as_vectors(part, name, width) for part, name, width in sides]
    others = {"texts": texts, "labels": labels, "groups": groups}
    counts = {name: len(array) for name, array in zip(names, arrays, strict=True)}
    counts |= {name: len(part) for name, part in others.items() if part is not None}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} has {count:,}" for name, count in counts.items())
        raise DataError(f"one row a sentence is expected in each: {said}")

    def words(part: Sequence[Any] | None) -> list[str] | None:
        return None if part is None else [str(one) for one in part]

    return Pairs(
        ids=RowIds(np.arange(len(arrays[0]))), student=arrays[0], teacher=arrays[1],
        texts=words(texts), labels=words(labels), groups=words(groups),
    )  # fmt: skip


def split_pairs(
    whole: Pairs, *, together: Sequence[Any] | None, validation: float, test: float, seed: int,
    least: int = MIN_PAIRS, name: str = "student_vectors",
) -> PairSplits:  # fmt: skip
    """Split the rows by seeded shares; rows of the same sentence, or that belong together, stay in one split.

    Args:
        whole: all pairs.
        together: N names; rows of one name are never on two sides. Equal texts and equal vectors never are.
        validation: share of the rows.
        test: share of the rows.
        seed: of the split.
        least: pairs that are enough.
        name: of the student's vectors, for messages.

    Raises:
        ConfigError: if the shares are no numbers, or leave nothing to train on.
        DataError: if there are too few pairs, or too few groups of them.
    """
    check({"validation": validation, "test": test}, SHARES)
    if len(whole) < least:
        raise DataError(f"{name}: {len(whole)} pairs, expected at least {least}; embed more sentences")
    same: Sequence[str] = group_rows(whole.student, whole.teacher, whole.texts, name)
    if together is not None:
        if len(together) != len(whole):
            raise DataError(f"together has {len(together):,} names, {name} {len(whole):,} rows")
        names = [f"given {name}" for name in together]
        same = merge_groups(names, list(zip(_first_of(same, names), names, strict=True)))
    parts = split_groups(same, seed=seed, validation=validation, test=test)
    train, held_out, tested = (take_pairs(whole, rows) for rows in parts)
    origin = Origin(source="arrays", split="seeded shares of the rows, equal vectors together")
    return PairSplits(train=train, validation=held_out, test=tested, origin=origin)


def _first_of(same: Sequence[str], names: Sequence[str]) -> list[str]:
    """For each row the name of the first row that is the same sentence."""
    first: dict[str, str] = {}
    return [first.setdefault(one, name) for one, name in zip(same, names, strict=True)]
