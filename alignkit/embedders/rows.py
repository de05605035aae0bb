"""Rows of a model's vectors: which are usable, and their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.setting_rules import check, whole

UNIT_WITHIN = 1e-6  # float32 cannot do better
ALIKE_WITHIN = 1e-6
# no working model gives these two the same vector
UNLIKE_TEXTS = ("alignment", "Seventeen parcels were left at the harbour on Friday.")
UNSOUND = "the model gave a vector that is zero, NaN or Inf"


def check_dimensions(dimensions: object) -> None:
    """Refuse an invalid vector width; null leaves it to the model.

    Raises:
        ConfigError: for anything but an integer of at least 1.
    """
    check({"dimensions": dimensions}, {"dimensions": whole(1).or_null("which takes the model's own")})


def squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """Squared length of each row of `(N, D)`, in float64, where no finite float32 row overflows: `(N,)`."""
    return np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)


def sound_rows(vectors: np.ndarray) -> np.ndarray:
    """Which rows of `(N, D)` are finite and not zero: `(N,)` bool.

    >>> sound_rows(np.array([[1.0, 2.0], [np.nan, 1.0], [0.0, 0.0]], dtype=np.float32)).tolist()
    [True, False, False]
    """
    # half the time of float64, whose range only a few rows need
    sound = _sound(np.einsum("nd,nd->n", vectors, vectors))
    return sound if sound.all() else _sound(squared_lengths(vectors))


def _sound(squares: np.ndarray) -> np.ndarray:
    return np.isfinite(squares) & (squares > 0)


def all_alike(vectors: np.ndarray) -> bool:
    """Whether the rows of `(N, D)` are all the same vector, up to rounding.

    >>> all_alike(np.array([[1.0, 2.0], [1.0, 2.0]])), all_alike(np.array([[1.0, 2.0], [1.1, 2.0]]))
    (True, False)
    """
    first = vectors[0]
    within = ALIKE_WITHIN * float(np.abs(first).max())
    # nearly always the second is another
    return all(np.abs(row - first).max() <= within for row in vectors[1:])


def useless(texts: Sequence[str], vectors: np.ndarray) -> str:
    """Why a whole batch is unusable, in words; "" if it may be usable.

    Embedding the harmless `UNLIKE_TEXTS` then shows whether the texts or the model are at fault.

    Args:
        texts: N texts.
        vectors: `(N, D)`.

    >>> useless(["a", "b"], np.ones((2, 3))), useless(["a", "a"], np.ones((2, 3)))
    ('one and the same vector', '')
    """
    if not sound_rows(vectors).any():
        return UNSOUND
    return "one and the same vector" if len(set(texts)) > 1 and all_alike(vectors) else ""


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Sound rows `(N, D)` scaled to length 1, float32.

    >>> unit_rows(np.array([[3e30, 4e30]], dtype=np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return _scaled(vectors, np.sqrt(squared_lengths(vectors)))


def _scaled(vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    off = np.abs(lengths - 1) > UNIT_WITHIN
    if not off.any():
        return vectors  # most servers normalise already; keep their exact bits
    scaled = vectors.copy()
    scaled[off] = vectors[off] / lengths[off, None]
    return scaled


def batch_of(
    positions: Sequence[int] | np.ndarray, vectors: np.ndarray, failures: Mapping[int, str], unit: bool = False
) -> EmbeddedBatch:
    """A batch of a model's vectors, with unusable rows turned into failures.

    Args:
        positions: of the texts, one per row.
        vectors: `(n, dim)` float32.
        failures: already known ones, by position.
        unit: scale the rows to length 1.
    """
    indices, squares = np.asarray(positions, dtype=np.int64), squared_lengths(vectors)
    good = _sound(squares)
    if not good.all():
        failures = {**failures, **dict.fromkeys(indices[~good].tolist(), UNSOUND)}
        indices, vectors, squares = indices[good], vectors[good], squares[good]
    return EmbeddedBatch(indices, _scaled(vectors, np.sqrt(squares)) if unit else vectors, failures)
