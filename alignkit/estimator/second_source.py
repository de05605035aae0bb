"""A second source of pairs beside the user's own, at the weight that serves the own ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from alignkit.errors import ConfigError
from alignkit.estimator.plan import fitter_of, team_of
from alignkit.pairs.base import PairSplits
from alignkit.pairs.extra import extra_pairs, with_extra
from alignkit.parts import settings_of_part
from alignkit.selection.extra_weight import choose_extra_weight
from alignkit.training.capacity import fits

logger = logging.getLogger(__name__)

# the weight is chosen with a head's closed form; where there is none, or several heads are tried, with one of these
USUAL = ("kernel", "linear")


def add_extra(settings: Mapping[str, Any], own: PairSplits, extra: PairSplits) -> PairSplits:
    """The own splits, with the extra pairs in the training split if they help; `origin.notes` say what they bring.

    Args:
        settings: plain values, as in `conf/train.yaml`.
        own: what the head is for; validation and test stay as they are.
        extra: the second source, all of it.

    Raises:
        ConfigError: if settings do not go together, or all pairs together do not fit into memory.
        DataError: if the extra pairs are of other models.
    """
    pairs = extra_pairs(own, extra)
    if not fits((own.train, own.validation, pairs), torch.device("cpu")):
        raise ConfigError(
            f"extra: {len(pairs):,} pairs beside {len(own.train):,} own ones do not fit into memory; take a smaller "
            "source: some ten thousand general sentences are enough"
        )
    model = settings["model"]
    if "candidates" in model:
        name = next((one for one in USUAL if one in model["candidates"]), USUAL[-1])
        model = settings_of_part("model", name, settings["seed"])
    elif model["init"] != "closed_form":
        model = settings_of_part("model", USUAL[-1], settings["seed"])
    fitter = fitter_of(settings, model, None)
    fitter.check(own)
    # another chip rounds otherwise, and with another weight the rows would come in another order
    chosen = team_of(settings).first(lambda: choose_extra_weight(fitter, own, pairs, settings["seed"]))
    logger.info("extra: %s", chosen.reason)
    splits = with_extra(own, pairs, chosen.weight) if chosen.weight else own
    return replace(
        splits, origin=replace(own.origin, notes=(*own.origin.notes, f"{extra.origin.source}: {chosen.reason}"))
    )
