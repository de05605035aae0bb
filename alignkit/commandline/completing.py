"""What a shell may offer at Tab: commands, settings, choices of groups, values and paths.

All of it is read from the YAMLs and from the rules of a command's settings, so that nobody keeps a second list; Hydra,
whose own completion composes a config at every Tab, is not loaded. argcomplete speaks with the shells.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import argcomplete
from argcomplete.completers import FilesCompleter

from alignkit.commandline.conf import Mount, group_choices, leaves, mounts_of, own_settings, yaml_of
from alignkit.commandline.declaration import Command
from alignkit.commandline.helping import comments_of
from alignkit.language import speaking
from alignkit.setting_rules import SWITCH

_OF_PROGRAM = {
    "--help": "the commands",
    "--version": "",
    "--install-completion": "teach your shell to complete at Tab",
    "--show-completion": "print the script that does so",
}
_OF_COMMAND = {
    "--help": "settings and examples",
    "--version": "",
    "--multirun": "sweep over comma-separated values",
    "--cfg": "show the config: --cfg job",
    "--resolve": "with --cfg, fill in what refers to other settings",
    "--info": "how Hydra found the config",
    "--config-dir": "a folder with YAMLs of your own",
}
_OF_CFG = ("job", "hydra", "all")


def answer_the_shell(summaries: Mapping[str, str]) -> None:
    """Print what may stand where the cursor is, as the shell asked by the environment; then the process ends.

    Args:
        summaries: each command's first line.
    """
    *_, words, _ = argcomplete.split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))

    def completer(prefix: str, **_: Any) -> dict[str, str]:
        return offers(words[1:], prefix, summaries)

    parser = argparse.ArgumentParser(add_help=False, prefix_chars="\0")  # flags are words like any other
    parser.add_argument("words", nargs="*").completer = completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def offers(words: Sequence[str], prefix: str, summaries: Mapping[str, str]) -> dict[str, str]:
    """What may follow, with a word on each.

    Args:
        words: before the one at the cursor, without the program.
        prefix: what is there of the word at the cursor.
        summaries: each command's first line.

    >>> offers(["train", "model=mlp"], "model.hid", {"train": "Train a head."})
    {'model.hidden=': 'of model=mlp'}
    >>> sorted(offers(["embed"], "dtype=", {"embed": "Embed sentences."}))
    ['dtype=float16', 'dtype=float32']
    """
    if not words:
        found = {**summaries, **(_OF_PROGRAM if prefix.startswith("-") else {})}
    elif words[0] not in summaries:
        found = {}
    elif words[-1] in ("--cfg", "-c"):
        found = dict.fromkeys(_OF_CFG, "")
    elif prefix.startswith("-"):
        found = _OF_COMMAND
    elif "=" in prefix:
        found = _values(words, *prefix.partition("=")[::2])
    else:
        found = _names(words, prefix)
    return {word: about for word, about in found.items() if word.startswith(prefix)}


def _names(words: Sequence[str], prefix: str) -> dict[str, str]:
    """Groups and settings that are not given yet; those of a part as soon as its name is begun."""
    command, given = words[0], {word.partition("=")[0] for word in words}
    about = comments_of(command)
    found = {f"{mount.place}=": f"default: {mount.default or 'none'}" for mount in _mounts(command)}
    found |= {f"{name}=": about.get(name, "") for name in dict(leaves(own_settings(command)))}
    for mount in _mounts(command):
        if prefix.startswith(mount.place):
            settings, choice = _part(mount, words)
            found |= {f"{name}=": f"of {mount.place}={choice}" for name in settings}
    found = {name: text for name, text in found.items() if name[:-1] not in given and (prefix or "." not in name)}
    return found | (_paths(prefix) if _declared(command).listed else {})


def _values(words: Sequence[str], name: str, begun: str) -> dict[str, str]:
    command = words[0]
    mounted = {mount.place: mount for mount in _mounts(command)}
    if name in mounted:
        return _joined(name, begun, group_choices(mounted[name].group), {"-m", "--multirun"} & set(words))
    known = dict(leaves(own_settings(command)))
    for mount in mounted.values():
        if name.startswith(f"{mount.place}."):
            known |= _part(mount, words)[0]
    rule = _rules(command).get(name)
    choices = rule.names if rule is not None else SWITCH.names if isinstance(known.get(name), bool) else ()
    if choices:
        return _joined(name, begun, choices, {"-m", "--multirun"} & set(words))
    if name not in known or isinstance(known[name], int | float):
        return {}
    return _paths(begun, f"{name}=")


def _paths(begun: str, before: str = "") -> dict[str, str]:
    return {f"{before}{path}": "" for path in FilesCompleter()(begun)}


def _joined(name: str, begun: str, values: Sequence[Any], several: object) -> dict[str, str]:
    """Values behind the name, and behind those of a sweep that stand there already."""
    before, comma, _ = begun.rpartition(",") if several else ("", "", "")
    return {f"{name}={before}{comma}{value}": "" for value in values}


def _mounts(command: str) -> Iterator[Mount]:
    return (mount for mount in mounts_of(command) if not mount.optional)


def _part(mount: Mount, words: Sequence[str]) -> tuple[dict[str, Any], str | None]:
    """Settings of the choice that is named, by dotted name, else of the default."""
    named = [word.partition("=")[2] for word in words if word.startswith(f"{mount.place}=")]
    choice = named[-1] if named else mount.default
    if choice not in group_choices(mount.group):
        return {}, None
    found = dict(leaves(yaml_of(mount.group, choice), mount.place))
    return {name: value for name, value in found.items() if not name.rpartition(".")[2].startswith("_")}, choice


def _rules(command: str) -> Mapping[str, Any]:
    """Of a command's own settings; its room of rules imports nothing heavy."""
    of_all = speaking.RULES if _declared(command).speaks else {}
    module = f"alignkit.commands.rules.{command}"
    if importlib.util.find_spec(module) is None:
        return of_all
    return {**of_all, **getattr(importlib.import_module(module), "RULES", {})}


def _declared(command: str) -> Command:
    found: Command = importlib.import_module(f"alignkit.{command}").main.declared
    return found
