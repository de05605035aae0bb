"""What a run in continuous integration requires of a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from alignkit.errors import ConfigError
from alignkit.evaluation.columns import Column
from alignkit.setting_rules import did_you_mean, is_number

if TYPE_CHECKING:
    from alignkit.evaluation.result import Result

SHARE = "share_of_teacher"


def check_requirements(required: object) -> dict[str, float]:
    """Check the requirements before anything is computed.

    Args:
        required: the setting `require`; `None` demands nothing.

    Returns:
        Figure → least value.

    Raises:
        ConfigError: if it is no mapping, names an unknown figure, or demands what is no number.
    """
    if required is None:
        return {}
    if not isinstance(required, Mapping):
        raise ConfigError(
            f"require={required}: expected figures with their least values, "
            "as in require={recall@10: 0.9, share_of_teacher: 0.95}"
        )
    known = [SHARE, *Column, *(f"{name}_share" for name in Column)]
    for name, least in required.items():
        if name not in known:
            named = f"{SHARE}, {', '.join(Column)}{did_you_mean(name, known)}"
            raise ConfigError(f"require: unknown figure '{name}'; expected one of {named}")
        if not is_number(least):
            raise ConfigError(f"require: {name} must be a number, got {least!r}")
    return dict(required)


def failed_requirements(result: Result, required: Mapping[str, float]) -> list[str]:
    """Sentences about what the product's row lacks; empty where it meets all.

    Args:
        result: what was measured.
        required: figure of the row, or `share_of_teacher` (of the verdict's measure) → least value.

    Raises:
        ConfigError: if a figure was not measured here; it lists those that were.
    """
    share = result.certainty.shares[result.verdict.evidence.judged]
    figures = {**result.rows[result.product.row].to_json(), SHARE: share.value if share else None}
    failed = []
    for name, least in required.items():
        if name not in figures:
            known = ", ".join(key for key, value in figures.items() if value is not None)
            raise ConfigError(f"require: '{name}' was not measured; known here: {known}")
        value = figures[name]
        if value is None:
            failed.append(f"{name} is undefined here, at least {least:g} is required")
        elif value < least:
            failed.append(f"{name} is {value:.4f}, at least {least:g} is required")
    return failed
