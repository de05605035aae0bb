"""What the command line speaks of, for a command that leaves out what nobody asked for."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig

from alignkit.commandline.conf import MOUNTED_GROUPS
from alignkit.setting_names import SIDES


def sides_named() -> list[str]:
    """The embedders that are chosen, or of which a setting is given."""
    starts = {side: (f"{MOUNTED_GROUPS[side]}=", f"{side}.") for side in SIDES}
    return [side for side in SIDES if any(word.startswith(starts[side]) for word in _words())]


def is_given(name: str) -> bool:
    """Whether a word of the command line gives this setting."""
    return any(word.startswith(f"{name}=") for word in _words())


def _words() -> list[str]:
    return [word.lstrip("+") for word in HydraConfig.get().overrides.task]
