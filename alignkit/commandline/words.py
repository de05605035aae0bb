"""The user's words as Hydra's overrides: texts letter for letter, no keys, and short names spelt out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from alignkit.commandline.conf import (
    MOUNTED_GROUPS,
    Mount,
    group_choices,
    mounted_groups,
    mounts_of,
    numbers_of,
    own_settings,
    settings_of,
)
from alignkit.commandline.mistakes import no_choice, unknown_setting
from alignkit.commandline.texts import HYDRA_TEXTS, as_literal, escaped, may_be_empty, own_texts, text_settings
from alignkit.credentials import SECRET_NAME, STARS, check_variable_name, is_there, looks_like_key
from alignkit.errors import ConfigError
from alignkit.pasting import quoted

# settings that go on to a library, which knows more names than our YAMLs
OPEN_NODES = ("trainer.",)
_NONE = "null"
# where a password of a URL stands while Hydra and its files have the URL
PRIVATE = "ALIGNKIT_PRIVATE_"
_PASSWORD = re.compile(r"(?s)(.*?://)([^/@\s]+)(@.*)")
_PLACEHOLDER = re.compile(rf"\$\{{oc\.env:{PRIVATE}\d+\}}")
_ESCAPED = re.compile(r"(\\+)\$\{")
# quotes, brackets and functions are Hydra's own way to write a sweep
_HYDRAS_SWEEP = re.compile(r"""['"\[\]{}()]""")

# what Hydra reads as more than a name
_HYDRAS_OWN = re.compile(r"""[^\w.,-]""")


@dataclass(frozen=True)
class Reader:
    """Reads the settings of one command.

    Attributes:
        command: its name.
        texts: those of its own settings that are texts.
        other_names: name on the command line → name in the YAML, unless the value is a choice of a group of that name.
        completed: groups that the command completes itself where none of their choices is named.
    """

    command: str
    texts: tuple[str, ...] = ()
    other_names: Mapping[str, str] | None = None
    completed: tuple[str, ...] = ()

    def overrides(self, words: Sequence[str], sweeping: bool = False, own_yamls: bool = False) -> list[str]:
        """Hydra's overrides.

        Args:
            words: of the command line, without flags.
            sweeping: whether commas separate values.
            own_yamls: whether the user has YAMLs too, whose settings only Hydra knows.

        Raises:
            ConfigError: for a word that is no setting, and for a key where none may stand.
        """
        for word in words:
            refuse_key(word)
        split = [self._split(word, before) for word, before in zip(words, ("", *words), strict=False)]
        if not own_yamls:
            split = [parts for parts in split if not self._is_default(*parts)]
        for sign, name, value in split:
            # Hydra would find it too, after much has been imported
            if not sign and not own_yamls and not self._may_be(name):
                raise ConfigError(unknown_setting(name, self.command))
            if not own_yamls and value is None:
                self._check_left_out(name)
            elif not own_yamls:
                self._check_choice(name, value or "null", sweeping)
        # to know whether a setting is a text, the parts of its group are imported
        numbers = numbers_of(self.command)
        places = {name.partition(".")[0] for _, name, _ in split if "." in name and name not in numbers}
        texts = text_settings(self.command, own_texts(own_settings(self.command), self.texts), places)
        named = {name.rpartition("@")[2] for _, name, _ in split}
        alone = tuple(f"{place}." for place in self.completed if place not in named)
        return [self._override(*parts, texts, sweeping, alone) for parts in split]

    def _split(self, word: str, before: str) -> tuple[str, str, str | None]:
        """Its sign (`+`, `++`, `~`), name and value."""
        name, equals, value = word.partition("=")
        bare = name.lstrip("+~")
        sign = name[: len(name) - len(bare)]
        if not equals and sign != "~":
            whole = f"; if it belongs to the word before it, quote the whole: {quoted(f'{before} {word}')}"
            raise ConfigError(
                f"'{word}' is not a setting; expected setting=value{whole if '=' in before else ''}; "
                f"python -m alignkit.{self.command} --help lists the settings"
            )
        if not bare or not _parse(f"{name}=1" if equals else word):
            raise ConfigError(
                f"'{name}' is not the name of a setting; expected setting=value; "
                f"python -m alignkit.{self.command} --help lists the settings"
            )
        return sign, self._name(bare, value), value if equals else None

    def _name(self, bare: str, value: str | None) -> str:
        """The name in the YAML; a choice of the group of this name, where the command has that too, stays one."""
        choices = [
            one for mount in mounts_of(self.command) if mount.place == bare for one in group_choices(mount.group)
        ]
        return bare if value in choices else (self.other_names or {}).get(bare, bare)

    def _may_be(self, name: str) -> bool:
        """Whether the command, one of its groups, or an open node such as `trainer` may have this setting."""
        mounts = mounts_of(self.command)
        groups = {*(mount.place for mount in mounts), *(mount.group for mount in mounts), *MOUNTED_GROUPS.values()}
        known = settings_of(self.command)
        return (
            name.startswith(("hydra.", "hydra/", *OPEN_NODES))
            or name in groups
            or any(place == name or place.startswith(f"{name}.") or name.startswith(f"{place}.") for place in known)
        )

    def _check_choice(self, name: str, value: str, sweeping: bool) -> None:
        """Refuse a choice that its group does not have; Hydra would say so after it has looked through all groups."""
        mount = self._mount(name)
        if mount is None or _HYDRAS_OWN.search(value):
            return
        for choice in value.split(",") if sweeping else [value]:
            if choice == _NONE:
                without = "; for none, leave it out" if mount.default is None else ""
                raise ConfigError(f"{name}={value}: expected one of {', '.join(group_choices(mount.group))}{without}")
            if choice not in group_choices(mount.group):
                raise ConfigError(no_choice(mount.group, choice))

    def _check_left_out(self, name: str) -> None:
        """Refuse `~name` for what the command cannot do without."""
        mount = self._mount(name)
        if name in own_settings(self.command) or (mount is not None and mount.default is not None):
            raise ConfigError(f"~{name}: this command needs it; {name}=… gives it another value")

    def _is_default(self, sign: str, name: str, value: str | None) -> bool:
        """Whether it asks for no choice of a group that has none by default; Hydra takes no `null` there."""
        mount = self._mount(name)
        return mount is not None and mount.default is None and not sign and value == _NONE

    def _mount(self, name: str) -> Mount | None:
        """The group that is chosen by this name."""
        return next((one for one in mounts_of(self.command) if one.place == name and not one.optional), None)

    def _override(
        self,
        sign: str,
        name: str,
        value: str | None,
        texts: Mapping[str, bool],
        sweeping: bool,
        alone: tuple[str, ...],
    ) -> str:
        if value is None:
            return f"{sign}{name}"
        if name in mounted_groups(self.command):
            name = MOUNTED_GROUPS[name]
        elif name.startswith((*OPEN_NODES, *alone)) and not sign:
            sign = "++"
        return f"{sign}{name}={self._value(name, value, texts, sweeping)}"

    def _value(self, name: str, value: str, texts: Mapping[str, bool], sweeping: bool) -> str:
        if name in HYDRA_TEXTS:
            return _hydras_text(name, value)
        if _PASSWORD.fullmatch(value):
            return _without_password(value)
        if name in texts:
            if texts[name] and value.lower() == "null":
                return value
            if not value and not may_be_empty(self.command, name):
                # mostly a variable of the shell that is not set; an empty path would be the working folder
                raise ConfigError(f"{name}= is empty; give it a value, or leave it out for the default")
            return _texts_of_sweep(name, value) if sweeping else as_literal(value)
        parsed = _parse(f"{name}={value}")
        if parsed is None or (parsed.is_sweep_override() and not sweeping):
            # "a,b.npy" parses as a sweep over two values; outside a sweep it can only be meant literally
            return as_literal(value, interpolate=True)
        is_choice = name in {*MOUNTED_GROUPS.values(), *(mount.group for mount in mounts_of(self.command))}
        if is_choice and isinstance(parsed.value(), int | float):
            return as_literal(value)
        return value


def refuse_key(word: str) -> None:
    """Refuse a key on the command line, where every process of the machine can read it; the message does not repeat it.

    Raises:
        ConfigError: if the word's value is, or looks like, a key.
    """
    name, equals, value = word.partition("=")
    name = name.lstrip("+~-") if equals else ""
    last = name.rpartition(".")[2]
    if last.endswith("_env"):
        if value.lower() not in ("null", ""):
            check_variable_name(name, value)
    elif SECRET_NAME.search(last) and value.lower() not in ("null", ""):
        env = f"{name[: -len(last)]}{'token' if last.endswith('token') else 'api_key'}_env"
        raise ConfigError(
            f"{name}: keys are not given on the command line; put it into an environment variable, MY_KEY for "
            f"instance, and give its name: {env}=MY_KEY"
        )
    elif looks_like_key(value if equals else word) and not is_there(value if equals else word):
        raise ConfigError(
            f"{f'{name}: this' if name else 'one word'} looks like a key, which is not shown here and does not belong "
            "there; put it into an environment variable, MY_KEY for instance, and give its name: "
            "teacher.api_key_env=MY_KEY (or student.…, generator.…; serve's own is token_env=MY_KEY)"
        )


def as_given(overrides: Iterable[str]) -> list[str]:
    """Overrides as words that a user would type, passwords starred out.

    >>> as_given(["embedder@student=static", "data.path='my file.txt'", "seed=0"])
    ['student=static', 'data.path=my file.txt', 'seed=0']
    """
    short = {group: place for place, group in MOUNTED_GROUPS.items()}
    found = []
    for override in overrides:
        name, equals, value = override.partition("=")
        parsed = _parse(override)
        if (text := _quoted_text(parsed)) is not None:
            value = _PLACEHOLDER.sub(STARS, text)
            value = _ESCAPED.sub(lambda back: "\\" * (len(back[1]) // 2) + "${", value)
        found.append(f"{short.get(name, name.removeprefix('++'))}{equals}{value}")
    return found


def forget_passwords() -> None:
    """Take passwords of URLs out of the environment again."""
    for name in [name for name in os.environ if name.startswith(PRIVATE)]:
        del os.environ[name]


def _parse(override: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def _quoted_text(override: Override | None) -> str | None:
    """What stands in the quotes of a value; `None` for any other."""
    value = None if override is None else override._value
    return str(value.text) if isinstance(value, QuotedString) else None


def _hydras_text(name: str, value: str) -> str:
    """Folders of runs and names of jobs: `${now:…}` is filled in, and what is in Hydra's quotes already stays so."""
    if name == "hydra.output_subdir" and value.lower() == "null":
        return value
    if _quoted_text(_parse(f"{name}={value}")) is not None:
        return value
    return as_literal(os.path.expanduser(value), interpolate=True)


def _texts_of_sweep(name: str, value: str) -> str:
    if _HYDRAS_SWEEP.search(value):
        parsed = _parse(f"{name}={value}")
        return value if parsed is not None and parsed.is_sweep_override() else as_literal(value)
    return ",".join(as_literal(part) for part in value.split(","))


def _without_password(value: str) -> str:
    """A URL whose password is in the environment: Hydra may write its overrides to files."""
    before, password, after = _PASSWORD.fullmatch(value).groups()  # type: ignore[union-attr]
    variable = f"{PRIVATE}{sum(name.startswith(PRIVATE) for name in os.environ)}"
    os.environ[variable] = password
    return as_literal(f"{escaped(before)}${{oc.env:{variable}}}{escaped(after)}", interpolate=True)
