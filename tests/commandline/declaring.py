"""The commands as they are declared."""

import importlib

from alignkit.__main__ import commands

COMMANDS = commands()


def declared(name):
    return importlib.import_module(f"alignkit.{name}").main.declared
