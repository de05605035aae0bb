"""`alignkit <command> …`: the commands under one console script."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

from alignkit import __version__
from alignkit.commandline import conf_folder
from alignkit.commandline.screen import readers_may_leave
from alignkit.credentials import redacted


def commands() -> list[str]:
    """Every command has one YAML at the top of `conf/`."""
    return sorted(path.stem for path in conf_folder().glob("*.yaml"))


def usage() -> str:
    """The commands, a line each, read from their files: importing them all would take many seconds."""
    package = Path(__file__).parent
    lines = []
    widest = max(map(len, commands()))
    for name in commands():
        docstring = ast.get_docstring(ast.parse((package / f"{name}.py").read_text(encoding="utf-8"))) or ""
        lines.append(f"  {name:<{widest}}  {docstring.splitlines()[0]}")
    return "\n".join(
        ["usage: alignkit COMMAND [key=value ...]", "", *lines, "", "alignkit COMMAND --help shows its settings."]
    )


def main() -> None:
    """Hand the rest of the command line to the command that is named first."""
    with readers_may_leave():
        _start(sys.argv[1] if len(sys.argv) > 1 else "--help")


def _start(name: str) -> None:
    if name in ("--help", "-h"):
        print(usage())  # noqa: T201
    elif name == "--version":
        print(f"alignkit {__version__}")  # noqa: T201
    elif name not in commands():
        words = f"alignkit: unknown command '{redacted(name)}'; commands: {', '.join(commands())}"
        print(words, file=sys.stderr)  # noqa: T201
        sys.exit(1)
    else:
        # as `python -m` would: further processes of a distributed run are started by the module's name
        sys.argv = [sys.argv[0], *sys.argv[2:]]
        runpy.run_module(f"alignkit.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
