"""Addresses on the Hub become those of a commit, so that one command reads the same files from start to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alignkit.hub.fetching import pinned
from alignkit.hub.hub_address import is_hub_address
from alignkit.parts import TARGET
from alignkit.setting_names import SIDES

HEADS = ("head", "update")
# embedders with a model of which the Hub may have files, and the setting that says where it is
_PLACES = {
    "alignkit.embedders.distilled.DistilledEmbedder": "path",
    "alignkit.embedders.table.TableEmbedder": "path",
    "alignkit.embedders.sentence_transformer.SentenceTransformerEmbedder": "model",
}


def pin_addresses(config: DictConfig) -> None:
    """Fetch what the config names on the Hub; a saved config then tells which commit it was.

    Raises:
        ConfigError: if an address is none.
        HubError: if the Hub refuses.
    """
    for name, value in _addresses(config):
        OmegaConf.update(config, name, pinned(value, is_head=name in HEADS))


def _addresses(config: DictConfig) -> Iterator[tuple[str, str]]:
    places = [*HEADS, *(f"{side}.{_place(config.get(side))}" for side in SIDES)]
    for name in places:
        value: Any = OmegaConf.select(config, name, throw_on_missing=False)
        if isinstance(value, str) and is_hub_address(value):
            yield name, value


def _place(side: Any) -> str:
    """Where a side's model is; a side without a choice may still get its `path`."""
    target = str(side.get(TARGET) or "") if isinstance(side, DictConfig) else ""
    return _PLACES.get(target, "path")
