"""What workers on other machines need of the command's process: variables that settings name, and its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_ENV = "_env"
# beginnings of those that packages read which speak to object storage
OF_STORES = ("AWS_", "AZURE_", "FSSPEC_", "GOOGLE_")


def named_variables(settings: Mapping[str, Any], *prefixes: str) -> dict[str, str]:
    """Variables that `…_env` settings name, at any depth, and those whose names begin so, as far as they are set.

    Args:
        settings: plain values.
        prefixes: of further variables, such as `PG` for those that libpq reads.
    """
    wanted = {*_names(settings), *(name for name in os.environ if prefixes and name.startswith(prefixes))}
    return {name: os.environ[name] for name in sorted(wanted) if name in os.environ}


def take_over(variables: Mapping[str, str], home: Path | None = None) -> None:
    """Have the command's variables in this process, and work in its folder where this machine has it.

    Args:
        variables: of `named_variables`.
        home: the command's working folder, for relative paths among settings.
    """
    os.environ.update(variables)
    if home is not None:
        with suppress(OSError):
            os.chdir(home)


def _names(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if str(name).endswith(_ENV) and isinstance(value, str):
                yield value
            else:
                yield from _names(value)
