"""Turns settings, named as in the YAMLs, into a fitter: what will be fitted, and how."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignkit.errors import ConfigError
from alignkit.estimator.updating import Update
from alignkit.pairs.base import PairSplits
from alignkit.parts import build_part, group_choices, settings_of_part
from alignkit.selection.choose import SELECT_BY, select_head
from alignkit.selection.decision import BASELINE
from alignkit.setting_names import settings_under
from alignkit.setting_rules import did_you_mean
from alignkit.training.device import choose_device
from alignkit.training.fit import Fitter
from alignkit.training.processes import as_launched, start_at_once
from alignkit.training.recipe import Recipe
from alignkit.training.team import ALONE, Team

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A fitter and the settings that it was made from.

    Attributes:
        settings: as in `conf/train.yaml`, with the chosen head in place of `model=auto`; `selection` records what was
            tried.
        fitter: checked against the pairs.
        update: the run that the pairs are added to, where there is one.
    """

    settings: Mapping[str, Any]
    fitter: Fitter
    update: Update | None = None


def make_plan(
    settings: Mapping[str, Any], splits: PairSplits, run_folder: Path | None, update: Update | None = None
) -> Plan:
    """Choose the head if the settings ask for it, and check that settings and pairs are compatible.

    Args:
        settings: plain values, as in `conf/train.yaml`.
        splits: the pairs.
        run_folder: for checkpoints and TensorBoard events; `None` writes nothing.
        update: a run that the pairs are added to; the settings are then of `Update.settings`.

    Raises:
        ConfigError: if settings are incompatible with each other or with the pairs.
    """
    keep_moments = bool(settings.get("keep_moments"))  # a run that an older version began has no such setting
    if "candidates" in settings["model"]:
        if keep_moments:
            raise ConfigError(
                "keep_moments=true: model=auto may choose a head that is not solved from sums; take model=linear, "
                "low_rank or random_features"
            )
        settings = {**settings, **_select_model(settings, splits)}
    settings = {**settings, "loss": _loss_of(settings, settings["model"])}
    fitter = replace(fitter_of(settings, settings["model"], run_folder), keep_moments=keep_moments)
    if update is not None:
        fitter = replace(fitter, earlier=update.solved(settings["model"], splits), adds=update.adds)
    fitter.check(splits)
    return Plan(settings, fitter, update)


def fitter_of(settings: Mapping[str, Any], model: Mapping[str, Any], run_folder: Path | None) -> Fitter:
    """A fitter with the loss's recipe, overlaid by the head's and by this run's settings.

    Args:
        settings: as `make_plan` takes them.
        model: of the head.
        run_folder: as `make_plan` takes it.
    """
    head, loss, trainer = dict(model), _loss_of(settings, model), dict(settings["trainer"])
    init = head.pop("init")
    recipe = Recipe().overlay(loss.pop("recipe", None), init).overlay(head.pop("recipe", None), init)
    own = Recipe.__dataclass_fields__.keys() - {"loss"}  # which is settled above
    recipe = recipe.overlay({name: settings[name] for name in own if name in settings})
    if trainer.get("max_epochs") is not None:  # set explicitly, so used whatever the number of pairs
        recipe = replace(recipe, enough_pairs=None)
    recipe = recipe.overlay({name: trainer.pop(name) for name in own if name in trainer})
    with settings_under("loss"):
        built_loss = build_part(loss)
    return Fitter(
        init=init,
        make_head=build_part(head),
        loss=built_loss,
        recipe=recipe,
        device=choose_device(settings["device"]["name"], recipe.precision),
        seed=settings["seed"],
        run_folder=run_folder,
        trainer_settings=as_launched(trainer),
    )


def early_team(settings: Mapping[str, Any]) -> Team:
    """The processes that a launcher started at once; one that is to start the others when it is ready is alone yet.

    Args:
        settings: as `make_plan` takes them.

    Raises:
        ConfigError: if a setting of the trainer cannot be used.
    """
    return team_of(settings) if start_at_once(settings["trainer"]) else ALONE


def team_of(settings: Mapping[str, Any]) -> Team:
    """The processes that the settings ask for, whatever the head."""
    return fitter_of(settings, settings_of_part("model", BASELINE, settings["seed"]), None).join()


def _loss_of(settings: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The configured loss; under `loss=auto` the one that the head's recipe names."""
    if not _is_auto(settings["loss"]):
        return dict(settings["loss"])
    name = Recipe().overlay(model.get("recipe")).loss
    return settings_of_part("loss", name, settings["seed"])


def _is_auto(loss: Mapping[str, Any]) -> bool:
    return "of" in loss


def _select_model(settings: Mapping[str, Any], splits: PairSplits) -> dict[str, Any]:
    """`model=auto`: settings of the best head found within the budget, and the table of what was tried."""
    auto, known = settings["model"], [name for name in group_choices("model") if name != "auto"]
    if unknown := [name for name in auto["candidates"] if name not in known]:
        meant = did_you_mean(unknown[0], known)
        raise ConfigError(f"model.candidates: unknown head '{unknown[0]}'; choices: {', '.join(known)}{meant}")
    models = {name: settings_of_part("model", name, settings["seed"]) for name in auto["candidates"]}
    # the target that chooses the head also steers its training, unless the caller says otherwise
    steered = {**settings, "select_by": settings["select_by"] or SELECT_BY.get(auto["target"])}
    fitters = {name: fitter_of(steered, model, None) for name, model in models.items()}
    budget = {name: auto[name] for name in ("budget_s", "target", "hold_out") if name in auto}

    def choose() -> dict[str, Any]:
        selection = select_head(fitters, splits, **budget, seed=settings["seed"])
        logger.info("auto: %s", selection.reason)
        return {**_as_tried(steered, models[selection.name]), "selection": selection.to_json()}

    # each process has its own clock, and would choose another head
    return team_of(settings).first(choose)


def _as_tried(settings: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the chosen head: a closed form, tried untrained, is trained only if a loss was set explicitly."""
    trainer = dict(settings["trainer"])
    solved = fitter_of(settings, model, None).is_solved
    if solved and _is_auto(settings["loss"]) and trainer["max_epochs"] is None:
        trainer["max_epochs"] = 0
    return {"model": dict(model), "select_by": settings["select_by"], "trainer": trainer}
