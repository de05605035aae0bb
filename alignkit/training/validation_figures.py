"""By which figures of the validation pairs a state may be kept."""

from __future__ import annotations

from alignkit.metrics.collected_figures import FIGURES

VALIDATION_FIGURES = ("val/loss", *(f"val/{name}" for name in FIGURES))
