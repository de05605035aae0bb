"""The workers that a command's `engine=` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.commandline.composed import build
from alignkit.workers.base import Engine
from alignkit.workers.local import LocalEngine


def workers_of(settings: Mapping[str, Any]) -> Engine | None:
    """The engine that does it in parts; `None` for this process alone, which needs no parts."""
    engine: Engine = build(settings, "engine")
    return None if isinstance(engine, LocalEngine) and engine.workers == 1 else engine
