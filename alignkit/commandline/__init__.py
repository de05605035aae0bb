"""How every command starts: one place for Hydra, its quirks, help, logging and errors.

A command is a module with a verb's name:

    @command("train", examples=("python -m alignkit.train model=mlp",))
    def main(config: DictConfig) -> None: ...

Hydra composes `conf/<name>.yaml`; this room adds what Hydra lacks: texts arrive letter for letter, flags stand
anywhere, `student=NAME` selects an embedder, keys are refused, an `AlignkitError` is one line and exit code 1.
"""

from __future__ import annotations

from alignkit.commandline.composed import build, plain
from alignkit.commandline.conf import choice_of, conf_folder, group_choices, own_settings, yaml_of
from alignkit.commandline.data import build_data
from alignkit.commandline.mistakes import explain_error
from alignkit.commandline.sides import complete_sides
from alignkit.commandline.starting import command
from alignkit.credentials import without_secrets

__all__ = [
    "build",
    "build_data",
    "choice_of",
    "command",
    "complete_sides",
    "conf_folder",
    "explain_error",
    "group_choices",
    "own_settings",
    "plain",
    "without_secrets",
    "yaml_of",
]
