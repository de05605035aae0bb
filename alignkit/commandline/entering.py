"""How a command is entered: help and version are answered at once, all else is handed to Hydra, which takes longer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from alignkit import __version__
from alignkit.commandline.declaration import Command
from alignkit.commandline.helping import help_text
from alignkit.commandline.screen import readers_may_leave, use_utf8


def command(name: str, summary: str | None, examples: Sequence[str], **declared: Any) -> Callable[[], None]:
    """A command without arguments, fed by `sys.argv`; see `Command`.

    What it does is `main` of `alignkit.commands.<name>`, which is imported once the words have been read and looked
    at: help and mistakes need nothing of it.
    """
    found = Command(name, summary or "", examples, **declared)

    def main() -> None:
        sys.exit(_enter(found, sys.argv[1:]))

    main.declared = found  # type: ignore[attr-defined]
    return main


def _enter(command: Command, arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    use_utf8()
    with readers_may_leave():
        if {"--help", "-h"} & set(arguments):
            print(help_text(command.name, command.summary, command.examples))  # noqa: T201
        elif "--version" in arguments:
            print(f"alignkit {__version__}")  # noqa: T201
        else:
            from alignkit.commandline.starting import start

            return start(command, arguments)
    return 0
