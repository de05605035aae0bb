"""Optional packages, imported where they are used: what is missing is said in the same words everywhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignkit.errors import MissingExtraError


@contextmanager
def needing(extra: str, package: str = "") -> Iterator[None]:
    """Around the import of optional packages.

    Args:
        extra: that installs them.
        package: pip's name for them, where it is not the module's own.

    Raises:
        MissingExtraError: if one is not installed, or cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module == "alignkit":  # a fault of ours, which no package mends
            raise
        absent = isinstance(error.__cause__ or error, ModuleNotFoundError)  # a cause: fsspec says it in its own words
        reason = "" if absent else (str(error).splitlines() or [""])[0]
        raise MissingExtraError(package or module.replace("_", "-") or "a package", extra, reason) from None


def check_installed(extra: str, *modules: str) -> None:
    """Refuse early, without importing what takes seconds.

    Raises:
        MissingExtraError: for the first module that is not installed.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(module.replace("_", "-"), extra)


def folder_of(module: str, extra: str) -> Path:
    """The folder of an installed package that is not imported.

    Raises:
        MissingExtraError: if it is not installed.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(module.replace("_", "-"), extra)
    return Path(found.submodule_search_locations[0])
