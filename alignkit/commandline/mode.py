"""Hydra composes a config once: to run and to sweep it would compose it twice, first for its setting `hydra.mode`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra._internal.hydra import Hydra

from alignkit.commandline.texts import HYDRA_TEXTS


@contextmanager
def mode_by_flag(overrides: Sequence[str], own_yamls: bool) -> Iterator[None]:
    """Within it `--multirun` alone decides between a run and a sweep, where nothing else can.

    Args:
        overrides: Hydra's.
        own_yamls: whether the user has YAMLs too, which may set a mode.
    """
    names = {override.partition("=")[0].lstrip("+~") for override in overrides}
    if own_yamls or any(name.startswith("hydra") for name in names - HYDRA_TEXTS):
        yield
        return
    asked = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = asked  # type: ignore[method-assign]
