"""`alignkit <command> …`: the commands under one console script."""

from __future__ import annotations

import ast
import os
import runpy
import sys
from pathlib import Path

from alignkit import __version__
from alignkit.commandline import conf_folder
from alignkit.commandline.screen import readers_may_leave
from alignkit.credentials import redacted
from alignkit.setting_rules import did_you_mean


def commands() -> list[str]:
    """Every command has one YAML at the top of `conf/`."""
    return sorted(path.stem for path in conf_folder().glob("*.yaml"))


def summaries() -> dict[str, str]:
    """Each command with the first line of what it is for, read from its file."""
    package, found = Path(__file__).parent, {}
    for name in commands():
        docstring = ast.get_docstring(ast.parse((package / f"{name}.py").read_text(encoding="utf-8"))) or ""
        found[name] = docstring.splitlines()[0]
    return found


def usage() -> str:
    """The commands, a line each."""
    widest = max(map(len, commands()))
    lines = [f"  {name:<{widest}}  {summary}" for name, summary in summaries().items()]
    return "\n".join(
        [
            "usage: alignkit COMMAND [key=value ...]",
            "",
            *lines,
            "",
            "alignkit COMMAND --help shows its settings.",
            "alignkit --install-completion teaches your shell to complete commands, settings and values at Tab.",
        ]
    )


def main() -> None:
    """Hand the rest of the command line to the command that is named first."""
    if "_ARGCOMPLETE" in os.environ:  # a shell asks, at Tab
        from alignkit.commandline.completing import answer_the_shell

        answer_the_shell(summaries())
    with readers_may_leave():
        _start(sys.argv[1] if len(sys.argv) > 1 else "--help")


def _start(name: str) -> None:
    if name in ("--help", "-h"):
        print(usage())  # noqa: T201
    elif name == "--version":
        print(f"alignkit {__version__}")  # noqa: T201
    elif name in ("--install-completion", "--show-completion"):
        from alignkit.commandline import completion_set_up

        sys.exit(completion_set_up.main(sys.argv[1:]))
    elif name not in commands():
        meant = did_you_mean(name, commands())
        words = f"alignkit: unknown command '{redacted(name)}'; commands: {', '.join(commands())}{meant}"
        print(words, file=sys.stderr)  # noqa: T201
        sys.exit(1)
    else:
        # as `python -m` would: further processes of a distributed run are started by the module's name
        sys.argv = [sys.argv[0], *sys.argv[2:]]
        runpy.run_module(f"alignkit.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
