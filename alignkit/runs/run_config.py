"""The settings of a run as its folder keeps them; the folder may be somebody else's, so only plain values are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from alignkit.errors import ConfigError

# of a config.yaml; ours stay far below
_DEEPEST, _MOST_BYTES = 20, 100_000


def read_run_config(path: Path) -> dict[str, Any]:
    """What a run's `config.yaml` holds.

    Raises:
        ConfigError: if it cannot be read, or is not what a run writes.
    """
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise ValueError(f"it has {size} bytes, expected at most {_MOST_BYTES}")
        text = path.read_text(encoding="utf-8")
        _check_shape(text)
        found = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable config ({' '.join(str(error).split())[:80]})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds no settings; expected what python -m alignkit.train writes")
    return found


def _check_shape(text: str) -> None:
    """Aliases could unfold to more than memory holds, and deep nesting would take minutes to read."""
    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
