"""The environment variables that settings name, so that workers on other machines have them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
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


def _names(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if str(name).endswith(_ENV) and isinstance(value, str):
                yield value
            else:
                yield from _names(value)
