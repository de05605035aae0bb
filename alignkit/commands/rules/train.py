"""Of `train`."""

from __future__ import annotations

from alignkit.training.run_settings import RULES, check_settings

__all__ = ["RULES", "check_settings"]
