"""What `--help` prints: what the command is for, groups with choices, settings with defaults, examples."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence

from alignkit import __version__
from alignkit.commandline.conf import Mount, conf_folder, group_choices, mounts_of
from alignkit.pasting import quoted

WIDTH = 80
# where the comments of settings stand; a longer setting has its comment below
_COLUMN = 30
_SETTING = re.compile(r"(?P<indent> *)(?P<setting>[^#]*?) *(?:# *(?P<comment>.*))?")
_CLOSING = """\
Texts, paths among them, are taken letter for letter; quote them for your shell alone.
Hydra's own flags work too: -m sweeps over comma-separated values (hydra/sweeper=alignkit_optuna searches), \
--cfg job shows the whole config."""


def help_text(name: str, summary: str, examples: Sequence[str]) -> str:
    """The help of a command, in 80 columns but for its examples, which are copied as a whole.

    Args:
        name: of the command.
        summary: what it is for.
        examples: command lines, quoted as in POSIX; they are shown as the shell at hand wants them.
    """
    groups_yaml, _, settings_yaml = (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8").partition("_self_")
    sections = ["\n\n".join(textwrap.fill(" ".join(part.split()), WIDTH) for part in summary.strip().split("\n\n"))]
    groups = [_group(mount, groups_yaml) for mount in mounts_of(name) if not mount.optional]
    if groups:
        sections.append("Groups (one choice each, its settings as group.setting=value):\n" + "\n".join(groups))
    lines = [shown for line in settings_yaml.strip().splitlines() for shown in _setting(line)]
    sections.append("Settings and their defaults:\n" + "\n".join(lines))
    commands = [" ".join(quoted(word) for word in shlex.split(example)) for example in examples]
    sections.append("Examples:\n" + "\n".join(f"  {line}" for line in commands))
    sections.append("\n".join(textwrap.fill(line, WIDTH) for line in _CLOSING.splitlines()))
    return "\n\n".join(sections) + f"\nalignkit {__version__}"


def comments_of(name: str) -> dict[str, str]:
    """The comment beside each setting of a command's YAML, by dotted name."""
    found, above = {}, ""
    for line in (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8").partition("_self_")[2].splitlines():
        read = _SETTING.fullmatch(line.rstrip())
        if read and (key := read["setting"].partition(":")[0]):
            above = above if read["indent"] else key
            found[f"{above}.{key}" if read["indent"] else key] = read["comment"] or ""
    return found


def _group(mount: Mount, yaml: str) -> str:
    """`model=auto, linear, …   (default linear)`; a default that is none is explained by the comment beside it."""
    default = mount.default or "none"
    if told := re.search(rf"@{mount.place}: null +# null: (.*)", yaml):
        default = told[1]
    text = f"{mount.place}={', '.join(group_choices(mount.group))} (default: {default})"
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * (3 + len(mount.place)))


def _setting(line: str) -> Iterator[str]:
    """A line of a YAML with its comment in a column of its own."""
    found = _SETTING.fullmatch(line.rstrip())
    if found is None:
        yield f"  {line}".rstrip()
        return
    left, comment = f"  {found['indent']}{found['setting'].replace('???', '(must be given)')}", found["comment"]
    if comment is None:
        yield left.rstrip()
    elif not found["setting"]:
        yield textwrap.fill(comment, WIDTH, initial_indent=f"{left}# ", subsequent_indent=f"{left}# ")
    else:
        rest = textwrap.wrap(comment, WIDTH - _COLUMN - 2, break_on_hyphens=False)  # names may have hyphens
        if len(left) > _COLUMN - 2:
            yield left
            left = ""
        yield f"{left:<{_COLUMN}}# {rest[0]}"
        yield from (f"{'':<{_COLUMN}}  {line}" for line in rest[1:])
