"""Of `train`."""

from __future__ import annotations

from alignkit.training.run_settings import check_settings

__all__ = ["check_settings"]
