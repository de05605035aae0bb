"""Trains with half the batch where the whole one does not fit into the memory of the device; once."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from alignkit.errors import AlignkitError
from alignkit.training.recipe import Recipe

logger = logging.getLogger(__name__)

# what torch and cuBLAS say where it is no `OutOfMemoryError`: on a CPU, on one under Windows, in a product on a GPU
_WORDS = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")

Got = TypeVar("Got")


def halving_once(train: Callable[[Recipe], Got], recipe: Recipe, back_to_start: Callable[[], None]) -> Got:
    """What `train` gives, with half the batch where the whole one does not fit.

    Several processes cannot halve, since the others wait in the middle of a step.

    Args:
        train: called with the recipe, or with the same one of half the batch.
        recipe: of the optimisation.
        back_to_start: undoes what the first try did to the model and the run folder.

    Raises:
        AlignkitError: if half the batch does not fit either.
    """
    try:
        return train(recipe)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        if recipe.batch_size == 1 or _are_several():
            raise _too_large(recipe.batch_size) from None
    # only here: while the error is handled, its frames hold all that took the memory
    half = replace(recipe, batch_size=recipe.batch_size // 2)
    logger.warning(
        "a batch of %s does not fit into the memory of this device; training with %s. A loss that compares texts "
        "of a batch then sees fewer",
        f"{recipe.batch_size:,}",
        f"{half.batch_size:,}",
    )
    gc.collect()  # trainer and module refer to each other
    back_to_start()
    torch.cuda.empty_cache()
    try:
        return train(half)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise _too_large(half.batch_size) from None


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _WORDS)


def _are_several() -> bool:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return there and torch.distributed.get_world_size() > 1


def _too_large(batch_size: int) -> AlignkitError:
    if batch_size == 1:
        return AlignkitError("not even one text a step fits into the memory of this device; take device=cpu")
    return AlignkitError(
        f"a batch of {batch_size:,} does not fit into the memory of this device; take batch_size={batch_size // 2}"
    )
