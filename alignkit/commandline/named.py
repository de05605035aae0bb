"""What the command line speaks of, for a command that leaves out what nobody asked for."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig

from alignkit.commandline.conf import MOUNTED_GROUPS
from alignkit.setting_names import SIDES


def sides_named() -> list[str]:
    """The embedders that are chosen, or of which a setting is given."""
    words = [word.lstrip("+") for word in HydraConfig.get().overrides.task]
    return [side for side in SIDES if any(word.startswith((f"{MOUNTED_GROUPS[side]}=", f"{side}.")) for word in words)]
