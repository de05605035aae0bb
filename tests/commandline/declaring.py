"""The commands as they are declared."""

import importlib

from alignkit.__main__ import commands
from alignkit.commandline.flags import split_flags
from alignkit.commandline.listed_words import gathered
from alignkit.commandline.words import Reader

COMMANDS = commands()


def declared(name):
    return importlib.import_module(f"alignkit.{name}").main.declared


def read(name, words):
    """What a command line says, by the reader that the command itself uses: unknown settings are refused."""
    command = declared(name)
    flags, words = split_flags(words)
    if command.listed is not None:
        words = gathered(words, name, command.listed)
    reader = Reader(name, command.texts, command.other_names, command.completed)
    own_yamls = bool({"--config-dir", "--config-path"} & set(flags))
    return reader.overrides(words, "--multirun" in flags, own_yamls)
