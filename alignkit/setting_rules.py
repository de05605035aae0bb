"""What a setting may be, said once: a rule a setting, and one way to word what is wrong with it.

A room lists its settings with their rules and calls `check`; who adds a setting adds a line. It is ours because a
message names the setting as it is typed and says what to type instead, in one line; pydantic's are several lines about
fields and types.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from alignkit.errors import ConfigError
from alignkit.setting_names import SettingNames

TWO = 2
_ALIKE = 0.6


@dataclass(frozen=True)
class Rule:
    """Which values a setting may have.

    Attributes:
        fits: whether this value is one.
        expected: the rest of "expected …" in the message.
        names: those that it may be, where it is one of some.
    """

    fits: Callable[[Any], bool]
    expected: str
    names: tuple[Any, ...] = ()

    def or_null(self, meaning: str = "") -> Rule:
        """Null too; `meaning` says what that does."""
        means = f", {meaning}" if meaning else ""
        return Rule(lambda value: value is None or self.fits(value), f"{self.expected}, or null{means}", self.names)


def check(settings: Mapping[str, Any], rules: Mapping[str, Rule], place: str | None = None) -> None:
    """Refuse the first setting that does not fit its rule.

    Args:
        settings: by name; those without a rule are not looked at.
        rules: by name; those without a setting are not looked at.
        place: of the settings, such as `trainer`; "" for none, by default that of the part that is being
            built.

    Raises:
        ConfigError: which names the setting, what it is, and what was expected.

    >>> check({"topk": 5}, {"topk": whole(1)})
    >>> check({"topk": True}, {"topk": whole(1)})
    Traceback (most recent call last):
        ...
    alignkit.errors.ConfigError: topk=True: expected a whole number of at least 1
    """
    for name, rule in rules.items():
        if name in settings and not rule.fits(value := settings[name]):
            called = SettingNames()(name) if place is None else f"{place}.{name}".removeprefix(".")
            meant = did_you_mean(value, rule.names)
            raise ConfigError(f"{called}={'null' if value is None else value}: expected {rule.expected}{meant}")


def did_you_mean(given: object, choices: Iterable[Any]) -> str:
    """The end of a message about a name that there is not: the one that is nearest, or nothing if none is near.

    >>> did_you_mean("recal@10", ["recall@5", "recall@10", "mrr@10"])
    '; did you mean recall@10?'
    >>> did_you_mean("nonesuch", ["recall@10"])
    ''
    """
    words = {str(choice).lower(): str(choice) for choice in choices}
    near = difflib.get_close_matches(str(given).lower(), words, n=1, cutoff=_ALIKE)
    return f"; did you mean {words[near[0]]}?" if near else ""


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; true and false are none for anybody but Python."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def whole(least: int, most: int | None = None) -> Rule:
    """A whole number in a range, ends included."""
    upto = "" if most is None else f" and at most {most}"
    return Rule(
        lambda value: is_whole(value) and value >= least and (most is None or value <= most),
        f"a whole number of at least {least}{upto}",
    )


def number_above(limit: float, most: float = math.inf) -> Rule:
    """A finite number above a limit, and up to another."""
    upto = "" if most == math.inf else f" and at most {most:g}"
    return Rule(lambda value: is_number(value) and limit < value <= most, f"a number above {limit:g}{upto}")


def number_from(least: float, *, below: float = math.inf, most: float = math.inf) -> Rule:
    """A finite number of at least so much, and below or up to another."""
    upto = "" if below == math.inf else f" and below {below:g}"
    upto += "" if most == math.inf else f" and at most {most:g}"
    return Rule(
        lambda value: is_number(value) and least <= value < below and value <= most,
        f"a number of at least {least:g}{upto}",
    )


def one_of(choices: Iterable[Any]) -> Rule:
    """One of some names."""
    known = tuple(choices)
    words = " or ".join(map(str, known)) if len(known) == TWO else f"one of {', '.join(map(str, known))}"
    return Rule(lambda value: value in known, words, known)


def of_type(annotation: Any) -> Rule:
    """A value of an annotated type, such as `float | None`; a whole number is a number too."""
    kinds = get_args(annotation) or (annotation,)

    def fits(value: object) -> bool:
        if isinstance(value, bool):
            return bool in kinds
        return isinstance(value, kinds) or (float in kinds and isinstance(value, int))

    return Rule(fits, " or ".join(_KINDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds))


_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
SWITCH = Rule(lambda value: isinstance(value, bool), "true or false", ("true", "false"))
# what seeds NumPy, torch and Lightning alike
SEED = whole(0, 2**32 - 1)
