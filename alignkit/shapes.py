"""The shapes that functions over several arrays expect, checked in one place, with one kind of message.

Without it, `(N, D)` beside `(1, D)` or `(N,)` broadcasts to a figure that means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignkit.errors import DataError

if TYPE_CHECKING:  # it takes seconds to load, and arrays bring their shapes with them
    import numpy as np
    from torch import Tensor

    Array = Tensor | np.ndarray | Sequence


def check_shapes(**arrays: tuple[Array, str]) -> None:
    """Refuse arrays whose shapes do not fit together.

    Args:
        **arrays: name → the array and its axes, such as `"N D"`. A letter stands for one size wherever it appears; a
            sequence has one axis.

    Raises:
        DataError: if a shape differs; the message gives all expected and all given shapes.

    >>> import numpy as np
    >>> check_shapes(aligned=(np.ones((3, 2)), "N D"), teacher=(np.ones((3, 2)), "N D"), rows=([0, 1, 2], "N"))
    >>> check_shapes(aligned=(np.ones((3, 2)), "N D"), teacher=(np.ones((3, 4)), "N D"))
    Traceback (most recent call last):
    ...
    alignkit.errors.DataError: expected aligned and teacher to have the same shape (N, D), but got (3, 2) and (3, 4)
    """
    given = [_shape(array) for array, _ in arrays.values()]
    axes = [tuple(letters.split()) for _, letters in arrays.values()]
    if _fit(given, axes):
        return
    expected = [f"({', '.join(letters)}{',' if len(letters) == 1 else ''})" for letters in axes]
    if len(arrays) == 1:
        wanted = f"the shape {expected[0]}"
    elif len(set(expected)) == 1:
        wanted = f"the same shape {expected[0]}"
    else:
        wanted = f"the shapes {_listed(expected)}"
    raise DataError(f"expected {_listed(list(arrays))} to have {wanted}, but got {_listed([str(s) for s in given])}")


def _shape(array: Array) -> tuple[int, ...]:
    return (len(array),) if isinstance(array, Sequence) else tuple(array.shape)


def _fit(shapes: list[tuple[int, ...]], axes: list[tuple[str, ...]]) -> bool:
    sizes: dict[str, int] = {}
    for shape, letters in zip(shapes, axes, strict=True):
        if len(shape) != len(letters):
            return False
        for letter, size in zip(letters, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                return False
    return True


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
