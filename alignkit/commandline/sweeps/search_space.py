"""What a sweep searches, written as Hydra's users know it: `choice()`, `range()`, `interval()`, `tag(log, …)`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from alignkit.commandline.conf import MOUNTED_GROUPS, group_choices, mounts_of, settings_of
from alignkit.errors import ConfigError

Value = str | int | float
# words that Hydra could not read as what they seem to be, and left as a text
_UNREAD = re.compile(r"\s*['\"]?(choice|range|interval|tag|shuffle|sort|glob|int|float)\(")
# of a grid
MOST_COMBINATIONS = 10_000


class Suggests(Protocol):
    """Optuna's trial, as far as it draws."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...  # noqa: D102
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...  # noqa: D102
    def suggest_float(  # noqa: D102
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


@dataclass(frozen=True)
class Searched:
    """One setting.

    Attributes:
        name: as a user types it.
        key: as Hydra's overrides name it.
        written: its space, as it was given.
        choices: words of overrides; empty for a range of numbers.
        low: of a range.
        high: likewise, included.
        step: likewise; `None` for any number in it.
        log: whether the range is drawn from by orders of magnitude.
        whole: whether it has whole numbers only.
    """

    name: str
    key: str
    written: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False

    def drawn(self, trial: Suggests) -> Value:
        """A value of the trial.

        Raises:
            ConfigError: for a range that is none.
        """
        try:
            if self.choices:
                return str(trial.suggest_categorical(self.name, self.choices))
            if self.whole:
                step = int(self.step or 1)
                return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)
            return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
        except ValueError as error:
            raise ConfigError(f"{self.name}={self.written}: {error}") from None

    def values(self) -> Sequence[Value]:
        """All of them.

        Raises:
            ConfigError: where they cannot be counted.
        """
        if self.choices:
            return self.choices
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            raise ConfigError(f"{self.name}={self.written}: sampler=grid needs values that can be counted: choice()")
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [int(self.low + step * at) if self.whole else self.low + step * at for at in range(count)]


@dataclass(frozen=True)
class SearchSpace:
    """All settings that are searched, and those that are not.

    Attributes:
        command: whose settings they are.
        searched: a choice of a group comes before the settings that only some of its choices have.
        fixed: overrides.
        choices: group → the choice of a trial that draws none, by the place of the group.
    """

    command: str
    searched: tuple[Searched, ...]
    fixed: tuple[str, ...]
    choices: Mapping[str, str]

    def overrides(self, trial: Suggests) -> list[str]:
        """What a trial runs with, drawn where it is searched."""
        drawn: dict[str, Value] = {}
        for one in self.searched:
            if self._is_for(one, drawn):
                drawn[one.name] = one.drawn(trial)
        keys = {one.name: one.key for one in self.searched}
        return [*self.fixed, *(f"{keys[name]}={value}" for name, value in drawn.items())]

    def grid(self) -> list[dict[str, Value]]:
        """Every combination, each once.

        Raises:
            ConfigError: where there are too many, or a setting's values cannot be counted.
        """
        found: dict[str, dict[str, Value]] = {}
        for values in itertools.islice(itertools.product(*(one.values() for one in self.searched)), MOST_COMBINATIONS):
            drawn: dict[str, Value] = {}
            for one, value in zip(self.searched, values, strict=True):
                if self._is_for(one, drawn):
                    drawn[one.name] = value
            found[repr(sorted(drawn.items()))] = drawn
        if len(found) >= MOST_COMBINATIONS:
            raise ConfigError(f"sampler=grid: more than {MOST_COMBINATIONS:,} combinations; take sampler=tpe")
        return list(found.values())

    def _is_for(self, one: Searched, drawn: Mapping[str, Value]) -> bool:
        """Whether the choices that were drawn have this setting."""
        owners = settings_of(self.command).get(one.name, ())
        place = one.name.partition(".")[0]
        chosen = str(drawn.get(place, self.choices.get(place, "")))
        return not owners or not _is_ours(self.command, place, chosen) or f"{place}={chosen}" in owners


def parse_space(
    params: Mapping[str, Any], words: Sequence[str], command: str, defaults: Mapping[str, str], loader: ConfigLoader
) -> SearchSpace:
    """Read the search space.

    Args:
        params: setting → its space or value, of a YAML.
        words: overrides of the command line, which come last.
        command: its name.
        defaults: group → the choice of the YAML, as Hydra names groups.
        loader: knows the choices that `glob()` means.

    Raises:
        ConfigError: if nothing is searched, or a setting that no choice has.
    """
    in_yaml = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
    given = {_key_of(word): word for word in (*in_yaml, *words)}
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(given.values()))
    for one in parsed:
        if not one.is_sweep_override() and _UNREAD.match(written := str(one.input_line).partition("=")[2]):
            raise ConfigError(
                f"{one.key_or_group}={written}: Hydra cannot read this; expected for instance choice(1,2), range(1,9), "
                "interval(0,0.5), int(interval(8,512)) or tag(log,interval(1e-4,1e-2))"
            )
    searched = [_searched(one) for one in parsed if one.is_sweep_override()]
    if not searched:
        raise ConfigError(
            "hydra/sweeper=alignkit_optuna: no setting is searched; give some as choice(), range(), interval() or "
            "values with commas, for instance model=linear,mlp"
        )
    fixed = [(one, str(one.input_line)) for one in parsed if not one.is_sweep_override()]
    places = {group: place for place, group in MOUNTED_GROUPS.items()}
    choices = {places.get(group, group): str(choice) for group, choice in defaults.items()}
    choices |= {places.get(one.get_key_element(), one.get_key_element()): str(one.value()) for one, _ in fixed}
    groups = {mount.place for mount in mounts_of(command)}
    searched.sort(key=lambda one: one.name not in groups)
    space = SearchSpace(command, tuple(searched), tuple(line for _, line in fixed), choices)
    _check(space)
    return space


def _check(space: SearchSpace) -> None:
    """Refuse a setting that no trial could have, and one that decides what is compared."""
    drawn = {one.name: one for one in space.searched}
    for one in space.searched:
        if one.name in ("objective", "trainer.devices", "trainer.num_nodes"):
            raise ConfigError(f"{one.name} is the same for all trials of a sweep; give it one value")
        bounded = math.isfinite(one.low) and math.isfinite(one.high)
        if not one.choices and not (bounded and one.low <= one.high and (one.low > 0 or not one.log)):
            above = " above 0" if one.log else ""
            raise ConfigError(f"{one.name}={one.written}: expected two bounds{above}, the lower one first")
        place = one.name.partition(".")[0]
        owners = settings_of(space.command).get(one.name, ())
        group = drawn.get(place)
        chosen = group.choices if group else (space.choices.get(place, ""),)
        ours = all(_is_ours(space.command, place, choice) for choice in chosen)
        if owners and ours and not {f"{place}={choice}" for choice in chosen} & set(owners):
            has = ", ".join(owners)
            raise ConfigError(f"{one.name}: {place}={', '.join(chosen)} has no such setting; those that have: {has}")


def _is_ours(command: str, place: str, choice: str) -> bool:
    return any(choice in group_choices(mount.group) for mount in mounts_of(command) if mount.place == place)


def _key_of(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")


def _searched(override: Override) -> Searched:
    key = override.get_key_element()
    places = {group: place for place, group in MOUNTED_GROUPS.items()}
    name = places.get(key, key.lstrip("+"))
    written = str(override.input_line).partition("=")[2]
    value = override.value()
    if isinstance(value, IntervalSweep) and value.start is not None and value.end is not None:
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return Searched(name, key, written, low=value.start, high=value.end, log="log" in value.tags, whole=whole)
    if isinstance(value, RangeSweep) and not value.shuffle and len(numbers := list(value.range())) > 1:
        whole = all(isinstance(one, int) for one in numbers)
        low, high = min(numbers), max(numbers)
        log = "log" in value.tags
        return Searched(name, key, written, low=low, high=high, step=abs(value.step), log=log, whole=whole)
    choices = tuple(dict.fromkeys(_each(override)))
    if not choices:
        raise ConfigError(f"{name}={written}: no value is among these")
    return Searched(name, key, written, choices=choices)


def _each(override: Override) -> Iterator[str]:
    yield from override.sweep_string_iterator()
