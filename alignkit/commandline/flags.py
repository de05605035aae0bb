"""Hydra's flags, wherever they stand on the command line: its own parser takes them before the settings only."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from alignkit.errors import ConfigError

# each shows something instead of running the command
SHOWING = {"--cfg", "--info", "--hydra-help", "--shell-completion"}
_CHANGING = {"--run", "--multirun"}
_OFFERED = "-m, --cfg job, --info, --resolve, --config-dir FOLDER"


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags in Hydra's spelling with their values, and the rest of the words in their order.

    Raises:
        ConfigError: for a flag that there is not, that lacks its value, or that does not go with another.

    >>> split_flags(["model=mlp", "-c", "job", "seed=1"])
    (['--cfg', 'job'], ['model=mlp', 'seed=1'])
    """
    allow_lazy_help_strings()
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    found, rest = parser.parse_known_intermixed_args(_without_greed(parser, arguments))
    # a dash with a space or a number behind it is no flag to argparse, but it is no setting either
    if unknown := [word for word in (*rest, *found.overrides) if word.startswith("-") and "=" not in word]:
        _refuse(f"unknown flag {_name_of(unknown[0])}")
    if unknown := [word for word in rest if word.startswith("-")]:
        _refuse(f"unknown flag {_name_of(unknown[0])}")
    flags: list[str] = []
    for action in parser._actions:
        value = getattr(found, action.dest, None)
        if action.option_strings and value not in (None, False):
            flags += [action.option_strings[0], *([] if value is True else [str(value)])]
    _check(set(flags))
    return flags, [*found.overrides, *rest]


def _without_greed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """The arguments, with a value for each bare `--info`: argparse would take the next setting as its value."""
    info = next(action for action in parser._actions if action.dest == "info")
    return [
        f"--info={info.const}" if word in info.option_strings and after not in (info.choices or ()) else word
        for word, after in pairwise([*arguments, ""])
    ]


def _name_of(word: str) -> str:
    """A flag without its value, which may be a key: `-x` of `-xVALUE`."""
    return word.partition("=")[0] if word.startswith("--") else word[:2].strip()


def _check(flags: set[str]) -> None:
    if "--experimental-rerun" in flags:
        _refuse("--experimental-rerun reads a pickle, which alignkit never does")
    if len(several := sorted(flags & (SHOWING | _CHANGING))) > 1:
        _refuse(f"{' and '.join(several)} do not go together")
    if "--resolve" in flags and "--cfg" not in flags:
        _refuse("--resolve goes with --cfg job")


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; Hydra's flags are {_OFFERED}")


def allow_lazy_help_strings() -> None:
    """Let Hydra 1.3 run on Python 3.14, whose argparse checks help strings and refuses Hydra's lazy one.

    Hydra 1.4 passes a string; this can go when it is required.
    """
    check = getattr(argparse.ArgumentParser, "_check_help", None)
    if check is None or getattr(check, "allows_lazy_help", False):
        return

    def check_help(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
        if action.help is None or isinstance(action.help, str):
            check(parser, action)

    check_help.allows_lazy_help = True  # type: ignore[attr-defined]
    argparse.ArgumentParser._check_help = check_help  # type: ignore[attr-defined]
