"""Packages that a file of tests needs and that take long to import: every worker collects all files, few run them."""

import importlib
import importlib.util

import pytest


class needed:  # noqa: N801 - it is called as `pytest.importorskip` is
    """The package, imported when a test first asks it for something; the file is skipped where it is not installed."""

    def __init__(self, name):
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            pytest.skip(f"needs {name}", allow_module_level=True)
        self._name = name

    def __getattr__(self, attribute):
        if attribute.startswith("_"):  # pytest asks whatever a file names for some of its own
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
