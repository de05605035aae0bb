"""How every command starts: one place for Hydra, its quirks, help, logging and errors.

A command is a module with a verb's name, which declares it:

    main = command("train", __doc__, ("python -m alignkit.train model=mlp",), run_folder=True)

Hydra composes `conf/<name>.yaml` and `alignkit.commands.<name>` does the work. This room adds what Hydra lacks: texts
arrive letter for letter, flags stand anywhere, `student=NAME` selects an embedder, keys are refused, an
`AlignkitError` is one line and exit code 1.

What the commands themselves use of it (`sides`, `data`, `resumed`) they import by file: it is heavier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alignkit.commandline.conf import choice_of, conf_folder, group_choices, own_settings, yaml_of
from alignkit.commandline.entering import command
from alignkit.credentials import without_secrets

if TYPE_CHECKING:
    from alignkit.commandline.composed import build, plain

__all__ = [
    "build",
    "choice_of",
    "command",
    "conf_folder",
    "group_choices",
    "own_settings",
    "plain",
    "without_secrets",
    "yaml_of",
]


def __getattr__(name: str) -> Any:
    # it needs OmegaConf, and help does not
    if name not in ("build", "plain"):
        raise AttributeError(f"module 'alignkit.commandline' has no attribute '{name}'")
    from alignkit.commandline import composed

    return getattr(composed, name)
