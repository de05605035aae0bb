"""Loads a model from a folder, from the hub's local cache, or from the hub itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from alignkit.embedders.digests import LoadedFiles
from alignkit.embedders.model_folders import EXPECTED, check_on_hub, local_folder, model_folder
from alignkit.errors import AlignkitError, EmbedderError
from alignkit.servers.untrusted_words import one_line

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Read = Callable[[str, bool], "SentenceTransformer"]


def load_model(model: str, read: Read, files: LoadedFiles | None) -> tuple[SentenceTransformer, LoadedFiles | None]:
    """Load a model; returns it with the files that it was loaded from.

    Args:
        model: a folder, or a name on the hub.
        read: loads from a folder or by name; its second argument forbids asking the hub.
        files: of the model, if they were examined before.

    Raises:
        EmbedderError: if there is no such model, it cannot be loaded, or its files changed during loading.
    """
    if files is None and (before := model_folder(model)) is not None:
        files = LoadedFiles(before)
    try:
        with quiet_loading():
            loaded, was_downloaded = _found(model, read)
    except AlignkitError:
        raise
    except Exception as error:  # from torch, transformers, safetensors, httpx, or code that comes with a model
        hint = f"; {EXPECTED}" if isinstance(error, OSError | ValueError) else ""
        reason = one_line(error) or type(error).__name__
        raise EmbedderError(f"cannot load '{model}': {reason}{hint}") from None
    if was_downloaded:  # a fresh download could not be examined before
        after = model_folder(model)
        return loaded, None if after is None else LoadedFiles(after)
    if files is not None:
        files.require_unchanged()
    return loaded, files


def _found(model: str, read: Read) -> tuple[SentenceTransformer, bool]:
    folder = local_folder(model)
    if folder is not None:
        return read(str(folder), True), False
    if model_folder(model) is not None:
        with contextlib.suppress(OSError):  # an interrupted download lacks some files
            return read(model, True), False
    check_on_hub(model)
    return read(model, False), True


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide the progress bars that transformers draws while it loads and saves weights."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
