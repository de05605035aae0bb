"""What a run in continuous integration demands of a head."""

from __future__ import annotations

from collections.abc import Mapping

from alignkit.errors import ConfigError
from alignkit.evaluation.comparison import Comparison

SHARE = "share_of_teacher"


def failed_requirements(comparison: Comparison, required: Mapping[str, float]) -> list[str]:
    """Sentences about what the `aligned` row lacks; empty where it meets all.

    Args:
        comparison: what was measured.
        required: figure of the row, or `share_of_teacher` (of the verdict's measure) → least value.

    Raises:
        ConfigError: if a figure is not known here; it lists those that are.
    """
    share = comparison.meta["shares"].get("aligned")
    figures = {**comparison.rows["aligned"], SHARE: share["value"] if share else None}
    failed = []
    for name, least in required.items():
        if name not in figures:
            known = ", ".join(key for key, value in figures.items() if value is not None)
            raise ConfigError(f"require: '{name}' was not measured; known here: {known}")
        if isinstance(least, bool) or not isinstance(least, int | float):
            raise ConfigError(f"require: {name} must be a number, got {least!r}")
        value = figures[name]
        if value is None:
            failed.append(f"{name} is undefined here, at least {least:g} is required")
        elif value < least:
            failed.append(f"{name} is {value:.4f}, at least {least:g} is required")
    return failed
