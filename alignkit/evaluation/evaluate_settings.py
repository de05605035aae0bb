"""Settings of `evaluate` and `demo`, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.errors import ConfigError
from alignkit.evaluation.rankings import SEARCHES
from alignkit.evaluation.requirements import check_requirements, is_number
from alignkit.evaluation.verdict import Thresholds

SWITCHES = ("learning_curve", "html", "tensorboard")
TIMED = ("auto", True, False)
LARGEST_SEED = 2**32 - 1


def check_settings(settings: Mapping[str, Any]) -> Thresholds:
    """Check the settings of `conf/evaluate.yaml`.

    Returns:
        The thresholds of the verdict.

    Raises:
        ConfigError: for the first setting that cannot be used.
    """
    check_seed(settings["seed"])
    whole_number("resamples", settings["resamples"], 1)
    for name in SWITCHES:
        if not isinstance(settings[name], bool):
            raise ConfigError(f"{name}={settings[name]}: expected true or false")
    if settings["time_embedding"] not in TIMED:
        raise ConfigError(f"time_embedding={settings['time_embedding']}: expected auto, true or false")
    if settings["search"] not in SEARCHES:
        raise ConfigError(f"search={settings['search']}: expected one of {', '.join(SEARCHES)}")
    check_requirements(settings["require"])
    return thresholds_of(settings["thresholds"])


def whole_number(name: str, value: object, least: int, most: int | None = None) -> int:
    """The value, if it is a whole number in that range.

    Raises:
        ConfigError: if it is not.

    >>> whole_number("topk", 5, 1)
    5
    """
    # True is an int to Python, and not a number to anybody else
    if isinstance(value, int) and not isinstance(value, bool) and value >= least and (most is None or value <= most):
        return value
    upto = "" if most is None else f" and at most {most}"
    raise ConfigError(f"{name}={value}: expected a whole number of at least {least}{upto}")


def check_seed(seed: object) -> None:
    """Refuse a seed that NumPy, torch or Lightning would not take.

    Raises:
        ConfigError: if it is not a whole number of 32 bits.
    """
    whole_number("seed", seed, 0, LARGEST_SEED)


def thresholds_of(given: object) -> Thresholds:
    """The thresholds of the verdict.

    Raises:
        ConfigError: if they are no numbers, or out of order.
    """
    names = tuple(Thresholds.__dataclass_fields__)
    if not isinstance(given, Mapping) or not set(given) <= set(names):
        raise ConfigError(f"thresholds={given}: expected numbers named {' and '.join(names)}")
    for name, value in given.items():
        if not is_number(value):
            raise ConfigError(f"thresholds.{name}={value}: expected a number above 0 and at most 1")
    return Thresholds(**given)
