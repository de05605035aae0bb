"""From a composed config to plain values, and from plain values to the parts that they describe."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from alignkit.commandline.texts import TARGET
from alignkit.errors import AlignkitError, ConfigError

PARTIAL = "_partial_"


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as dicts, lists and plain values, interpolations resolved.

    Raises:
        ConfigError: if a setting without a default was not given.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} is not set; give it as {error.full_key}=...") from None


def build(settings: Mapping[str, Any] | DictConfig) -> Any:
    """What the settings' `_target_` names, called with the rest of them; parts within are built first.

    Hydra's own `instantiate` would fill in `${…}` once more, in texts that a user or a file gave.

    Args:
        settings: as `plain` gives them; of a config, interpolations are resolved first.

    Raises:
        AlignkitError: whatever the part says against its settings.
    """
    return _built(plain(settings) if isinstance(settings, DictConfig) else settings)


def _built(node: Any) -> Any:
    if isinstance(node, list):
        return [_built(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    values = {key: _built(value) for key, value in node.items() if key not in (TARGET, PARTIAL)}
    if TARGET not in node:
        return values
    try:
        called = get_object(node[TARGET])
        return functools.partial(called, **values) if node.get(PARTIAL) else called(**values)
    except AlignkitError:
        raise
    except Exception as error:
        reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
        raise ConfigError(f"{node[TARGET]}: {reason}") from error
