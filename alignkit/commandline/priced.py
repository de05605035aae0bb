"""What calls of a command's teacher cost, where its settings name a price."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from alignkit.commandline.composed import build
from alignkit.costs import CallCost, call_cost, price_of
from alignkit.pairs.base import PairSplits

logger = logging.getLogger(__name__)


def cost_of_calls(settings: Mapping[str, Any], splits: PairSplits) -> CallCost | None:
    """Of texts like the training texts; `None` without a price, and without texts whose tokens could be counted.

    Raises:
        ConfigError: if the price is none.
    """
    teacher = settings.get("teacher")
    price, texts = price_of(teacher), splits.train.texts
    if price is None or teacher is None:
        return None
    if not texts:
        logger.warning("teacher.price_per_million_tokens: the data has no texts, so that no price can be named")
        return None
    with closing(build(teacher, "teacher")) as embedder:
        return call_cost(price, texts, embedder)
