"""A command as it is declared: what is known of it before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    """A command as it is declared.

    Attributes:
        name: its own and that of its YAML in `conf/`.
        summary: what it is for, for `--help`.
        examples: command lines for `--help`.
        texts: those of its own settings that are texts, which are taken letter for letter.
        other_names: name on the command line → name in the YAML.
        run_folder: whether it writes into a folder of its own for each run.
        speaks: whether its setting `language` is that of its reports, not of what they are about.
        completed: groups that the task completes where the config names none of their choices: their settings may
            then stand alone, as in `student.base_url=…`.
        listed: the setting that words without a name are gathered in, as in `compare outputs/a outputs/b`.
    """

    name: str
    summary: str
    examples: Sequence[str]
    texts: tuple[str, ...] = ()
    other_names: Mapping[str, str] = field(default_factory=dict)
    run_folder: bool = False
    speaks: bool = False
    completed: tuple[str, ...] = ()
    listed: str | None = None
