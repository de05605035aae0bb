"""From a composed config to plain values, and from plain values to the parts that they describe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from alignkit.commandline.conf import choice_of
from alignkit.errors import ConfigError
from alignkit.parts import TARGET, build_part
from alignkit.setting_names import settings_under


def plain(config: DictConfig, without: Collection[str] = ()) -> dict[str, Any]:
    """The config as dicts, lists and plain values, interpolations resolved.

    Args:
        config: of a command, or a part of one.
        without: settings that are left out: what is missing in them shall not stop who does not need them.

    Raises:
        ConfigError: if a setting without a default was not given.
    """
    register_resolvers()
    if without:
        config = OmegaConf.masked_copy(config, [str(name) for name in config if name not in without])
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} is not set; give it as {error.full_key}=...") from None


def build(settings: Mapping[str, Any] | DictConfig, place: str = "") -> Any:
    """What the settings' `_target_` names, called with the rest of them; see `build_part`.

    Hydra's own `instantiate` would fill in `${…}` once more, in texts that a user or a file gave.

    Args:
        settings: as `plain` gives them; of a config, interpolations are resolved first.
        place: where these settings are on the command line, such as `student`: the part's messages then say so.

    Raises:
        AlignkitError: whatever the part says against its settings.
    """
    with settings_under(place):
        return build_part(plain(settings) if isinstance(settings, DictConfig) else settings)


def register_resolvers() -> None:
    """`${embedder_name:…}` in a YAML: the name of the embedder that stands there."""
    OmegaConf.register_new_resolver("embedder_name", embedder_name, replace=True)


def embedder_name(settings: Any) -> Any:
    """The name of the embedder that these settings describe; what are no settings stays as it is."""
    if not isinstance(settings, Mapping | DictConfig):
        return settings
    found = {TARGET: settings.get(TARGET)}
    return choice_of("embedder", found) or found[TARGET]
