"""`alignkit <command> …`: the commands under one console script."""

from __future__ import annotations

import importlib
import sys

from alignkit import __version__
from alignkit.commandline import conf_folder


def commands() -> list[str]:
    """Every command has one YAML at the top of `conf/`."""
    return sorted(path.stem for path in conf_folder().glob("*.yaml"))


def usage() -> str:
    """The commands, a line each."""
    lines = [
        f"  {name:<10}{(importlib.import_module(f'alignkit.{name}').__doc__ or '').splitlines()[0]}"
        for name in commands()
    ]
    return "\n".join(
        ["usage: alignkit COMMAND [key=value ...]", "", *lines, "", "alignkit COMMAND --help shows its settings."]
    )


def main() -> None:
    """Hand the rest of the command line to the command that is named first."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print(usage())  # noqa: T201
    elif name == "--version":
        print(f"alignkit {__version__}")  # noqa: T201
    elif name not in commands():
        print(f"alignkit: unknown command '{name}'; commands: {', '.join(commands())}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    else:
        sys.argv = [f"alignkit {name}", *sys.argv[2:]]
        importlib.import_module(f"alignkit.{name}").main()


if __name__ == "__main__":
    main()
