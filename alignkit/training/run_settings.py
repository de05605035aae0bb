"""Settings of a run that are wrong whatever the data; nothing heavy is loaded to say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.errors import ConfigError
from alignkit.metrics.figure_names import FIGURES
from alignkit.setting_rules import SEED, SWITCH, check, one_of
from alignkit.training.recipe import RULES as RECIPE_RULES
from alignkit.training.recipe import Recipe
from alignkit.training.trainer_settings import check_trainer_settings

# by which figures of the validation pairs a state may be kept
VALIDATION_FIGURES = ("val/loss", *(f"val/{name}" for name in FIGURES))
SELF_MRR, OVERLAP = "self_mrr", "overlap@10"
WHITEN_BY = (SELF_MRR, OVERLAP)
RULES = {
    "seed": SEED,
    "confidence": SWITCH,
    "keep_moments": SWITCH,
    "html": SWITCH,
    "learning_curve": SWITCH.or_null("with data=cached and built, and with a price"),
    "refit": SWITCH.or_null("where the kept head is a closed form"),
    "objective": one_of(VALIDATION_FIGURES),
    "select_by": one_of(VALIDATION_FIGURES).or_null(),
    "whiten_by": one_of(WHITEN_BY).or_null("which does not whiten"),
    # null leaves it to the recipe of the head or the loss
    **{name: rule.or_null() for name, rule in RECIPE_RULES.items() if name not in ("max_epochs", "enough_pairs")},
}
OF_RECIPE = {name: rule.or_null() for name, rule in RECIPE_RULES.items()}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that are invalid whatever the data: a "no" that would count as yes, an invalid trainer.

    Args:
        settings: of the command.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
    trainer = settings["trainer"]
    if not isinstance(trainer, Mapping):
        raise ConfigError(f"trainer={trainer}: expected settings by name, such as trainer.max_epochs=5")
    own = {name: value for name, value in trainer.items() if name in Recipe.__dataclass_fields__}
    check(own, OF_RECIPE, "trainer")
    check_trainer_settings({name: value for name, value in trainer.items() if name not in own})
