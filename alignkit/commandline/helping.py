"""What `--help` prints: what the command is for, groups with choices, settings with defaults, examples."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from alignkit import __version__
from alignkit.commandline.conf import conf_folder, group_choices, mounts_of
from alignkit.pasting import quoted


def help_text(name: str, summary: str, examples: Sequence[str]) -> str:
    """The help of a command.

    Args:
        name: of the command.
        summary: what it is for.
        examples: command lines, quoted as in POSIX; they are shown as the shell at hand wants them.
    """
    groups = [
        f"  {mount.place}={', '.join(group_choices(mount.group))}   (default {mount.default or 'none'})"
        for mount in mounts_of(name)
        if not mount.optional
    ]
    settings = (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8").partition("_self_")[2].strip()
    sections = [summary.strip()]
    if groups:
        sections.append("Groups (one choice each, its settings as group.setting=value):\n" + "\n".join(groups))
    lines = [f"  {line}".rstrip() for line in settings.splitlines()]
    sections.append("Settings and their defaults:\n" + "\n".join(lines))
    lines = [" ".join(quoted(word) for word in shlex.split(example)) for example in examples]
    sections.append("Examples:\n" + "\n".join(f"  {line}" for line in lines))
    sections.append(
        "Texts, paths among them, are taken letter for letter; quote them for your shell alone.\n"
        "Hydra's own flags work too: -m (sweep over comma-separated values), --cfg job (show the whole config).\n"
        f"alignkit {__version__}"
    )
    return "\n\n".join(sections)
