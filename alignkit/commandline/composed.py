"""From a composed config to plain values, and from plain values to the parts that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from alignkit.errors import ConfigError
from alignkit.parts import build_part


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
    """What the settings' `_target_` names, called with the rest of them; see `build_part`.

    Hydra's own `instantiate` would fill in `${…}` once more, in texts that a user or a file gave.

    Args:
        settings: as `plain` gives them; of a config, interpolations are resolved first.

    Raises:
        AlignkitError: whatever the part says against its settings.
    """
    return build_part(plain(settings) if isinstance(settings, DictConfig) else settings)
