"""What went wrong in one line: our own errors as they are; of Hydra's, what is wrong and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from alignkit.commandline.conf import group_choices, mounts_of, settings_of
from alignkit.errors import AlignkitError
from alignkit.setting_rules import did_you_mean

# plugins of Hydra that are chosen by a name: what pip calls them
PLUGINS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "rq": "hydra-rq-launcher",
    "nevergrad": "hydra-nevergrad-sweeper",
    "ax": "hydra-ax-sweeper",
    "colorlog": "hydra-colorlog",
}
_ALIKE = 0.7
_MOST_NAMED = 4


def explain_error(error: Exception, command: str) -> str:
    """One line on an error of ours or of Hydra's; `command` is the name of the command it came from."""
    text = str(error)
    if isinstance(error, AlignkitError):
        return text
    see = f"python -m alignkit.{command} --help lists the settings"
    if found := re.search(r"(?:Could not find|Could not load) '([\w@/]+)/([^']+)'", text):
        return no_choice(found[1].split("@")[0], found[2], text)
    if found := re.search(r"Could not override '([^']+)'", text):
        return unknown_setting(found[1], command)
    if found := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{found[1]} is not set; give it as {found[1]}=…"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text.splitlines()[0]}; {see}"
    cause = error.__cause__
    if isinstance(error, HydraException) and "Error parsing override" in text:
        return f"{_value_of(text)}; {see}"
    first = text.splitlines()[0] if text else type(error).__name__
    return first + (f": {str(cause).splitlines()[0]}" if cause and str(cause) else "") + f"; {see}"


def unknown_setting(name: str, command: str) -> str:
    """One line on a setting that the command does not have, with those that may be meant.

    >>> unknown_setting("epochs", "train")
    "unknown setting 'epochs'; did you mean trainer.max_epochs? python -m alignkit.train --help lists the settings"
    """
    see = f"python -m alignkit.{command} --help lists the settings"
    group = name.split("@")[0]
    if group_choices(group) and all(mount.group != group for mount in mounts_of(command)):
        return f"this command has no group '{name}'; {see}"
    known = dict(settings_of(command))
    if name in known:  # a setting of another choice
        return f"{name} is a setting of {' or '.join(known[name][:_MOST_NAMED])}, which is not chosen; {see}"
    known |= {mount.place: () for mount in mounts_of(command)}
    meant = alike(name, known)
    shown = [one if not known[one] else f"{one} (of {' or '.join(known[one][:_MOST_NAMED])})" for one in meant]
    hint = f"did you mean {' or '.join(shown)}? " if shown else ""
    return f"unknown setting '{name}'; {hint}{see}"


def alike(name: str, known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Settings that a name may mean: same last word, else similar spelling; the command's own before its parts'.

    >>> alike("data.cachedir", {"cache_dir": (), "student.model": ("student=ollama",)})
    ['cache_dir']
    """
    last = name.rpartition(".")[2]
    words = {place: place.rpartition(".")[2] for place in known}
    near = (
        [last] if last in words.values() else difflib.get_close_matches(last, set(words.values()), n=1, cutoff=_ALIKE)
    )
    found = sorted(place for place in known if words[place] in near)
    least = min((place.count(".") for place in found), default=0)
    return [place for place in found if place.count(".") == least][:_MOST_NAMED]


def no_choice(group: str, choice: str, text: str = "") -> str:
    """One line on a choice that a group does not have, with those that it has; `text` is Hydra's on its own groups."""
    if not group.startswith("hydra/"):
        choices = group_choices(group)
        return f"unknown {group} '{choice}'; choices: {', '.join(choices)}{did_you_mean(choice, choices)}"
    if choice == "optuna":  # the plugin of that name wants an Optuna before 3, which today's SQLAlchemy breaks
        return f"{group}=optuna is a plugin that is not installed; take {group}=alignkit_optuna, which is here"
    if choice in PLUGINS:
        return f"{group}={choice} is a plugin that is not installed; install it with: pip install {PLUGINS[choice]}"
    available = re.search(r"Available options in '[^']+':\s*(.*?)\s*(?:Config search|\Z)", text, flags=re.DOTALL)
    installed = ", ".join(available[1].split()) if available else "none"
    return f"unknown {group} '{choice}'; installed: {installed}; more come as plugins of Hydra"


def _value_of(text: str) -> str:
    """Hydra's complaint about an override, without the names of its grammar."""
    found = re.search(r"Error parsing override '([^']*)'", text)
    name = found[1].partition("=")[0] if found else "the setting"
    return f"{name}: this value is neither a number, a word, a list [a,b] nor a mapping {{a: b}}"
