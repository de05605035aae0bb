"""Words that are no settings, for a command that takes many of one kind: `compare outputs/a outputs/b`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignkit.commandline.conf import settings_of
from alignkit.commandline.texts import as_literal
from alignkit.commandline.words import refuse_key


def gathered(words: Sequence[str], command: str, name: str) -> list[str]:
    """The words, with those that are no settings in one list of this name.

    Args:
        words: of the command line, without flags.
        command: whose settings they may be.
        name: of the setting that takes the list.

    Raises:
        ConfigError: for a key.
    """
    listed = [word for word in words if _is_listed(word, command)]
    for word in listed:
        refuse_key(word)
    rest = [word for word in words if word not in listed]
    return [*rest, f"{name}=[{','.join(map(as_literal, listed))}]"] if listed else rest


def _is_listed(word: str, command: str) -> bool:
    """Hydra names folders of jobs after their settings, `outputs/lr=0.1` for instance."""
    setting, equals, _ = word.partition("=")
    if not equals:
        return True
    is_path = bool(Path(setting).parent.name) and not setting.startswith("hydra/")
    return setting not in settings_of(command) and (is_path or Path(word).exists())
