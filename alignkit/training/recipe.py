"""How a head is trained: the settings, and which sources override them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from alignkit.errors import ConfigError
from alignkit.setting_rules import Rule, check, did_you_mean, number_above, number_from, one_of, whole

SCHEDULES = ("constant", "one_cycle")
# key in a YAML's recipe for settings that apply only if the head starts from its closed form
FROM_CLOSED_FORM = "from_closed_form"
# lower bound on the epochs when there are many pairs
FEWEST_EPOCHS = 3
# the number of pairs that `noise` is stated for
NOISE_PAIRS = 10_000


@dataclass(frozen=True)
class Recipe:
    """Optimisation settings. The defaults here are overlaid by the loss's recipe, the head's, then the command line.

    Attributes:
        loss: the YAML of the default loss.
        batch_size: pairs per step, at least 1.
        max_epochs: 0 keeps the starting point.
        enough_pairs: with many pairs, train fewer epochs: as many as see this many pairs, but at least
            `FEWEST_EPOCHS`; `None` trains all epochs whatever the number of pairs.
        noise: standard deviation of what is added to every number of the student's vectors in a training step, relative
            to the spread of the vectors, with `NOISE_PAIRS` pairs; it falls as the cube root of their number rises.
        lr: AdamW's learning rate, the peak one under `one_cycle`.
        weight_decay: AdamW's, at least 0.
        schedule: `constant` or `one_cycle`.
        warmup_fraction: share of the steps before the peak of `one_cycle`, in [0, 1).
        gradient_clip_val: largest gradient norm; `None` does not clip.
        select_by: the validation figure by which the kept state is chosen.
        early_stop_patience: stop after this many epochs without a new best, at least 1; `None` never stops.
        precision: `auto` (the device's choice), `bf16` (where the chip has it), or one of Lightning's names.
    """

    loss: str = "cos_mse"
    batch_size: int = 64
    max_epochs: int = 5
    enough_pairs: int | None = None
    noise: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "constant"
    warmup_fraction: float = 0.1
    gradient_clip_val: float | None = None
    select_by: str = "val/loss"
    early_stop_patience: int | None = None
    precision: str = "auto"

    def overlay(self, settings: Mapping[str, Any] | None, init: str = "random") -> Recipe:
        """A recipe with `settings` in place of its own; `None` values leave it as it is.

        Args:
            settings: by name; those under `from_closed_form` come on top where `init` is `closed_form`: steps
                small enough for fine-tuning would hardly move a random start.
            init: how the head starts.

        Raises:
            ConfigError: for an unknown setting.
        """
        given = dict(settings or {})
        fine_tuning = given.pop(FROM_CLOSED_FORM, None) or {}
        if init == "closed_form":
            given |= fine_tuning
        known = {field.name for field in fields(self)}
        if unknown := sorted((given.keys() | fine_tuning.keys()) - known):
            named = ", ".join(sorted(known)) + did_you_mean(unknown[0], known)
            raise ConfigError(f"unknown recipe setting '{unknown[0]}'; expected one of {named}")
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def for_pairs(self, count: int) -> Recipe:
        """The recipe with the number of epochs and the noise for this many training pairs.

        >>> few, many = (Recipe(max_epochs=16, enough_pairs=300_000, noise=0.1).for_pairs(n) for n in (1250, 80_000))
        >>> (few.max_epochs, few.noise), (many.max_epochs, many.noise)
        ((16, 0.2), (3, 0.05))
        """
        noise = round(self.noise * (NOISE_PAIRS / max(1, count)) ** (1 / 3), 4)
        if self.enough_pairs is None:
            return replace(self, noise=noise)
        epochs = max(FEWEST_EPOCHS, self.enough_pairs // max(1, count))
        return replace(self, max_epochs=min(self.max_epochs, epochs), noise=noise)

    def check(self) -> None:
        """Refuse invalid settings.

        Raises:
            ConfigError: naming the setting and what was expected.
        """
        check(vars(self), RULES)


# `auto`, `bf16` for where the chip has it, and those of Lightning
PRECISIONS = (
    "auto", "bf16", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "16", "32", "64",
    "transformer-engine", "transformer-engine-float16",
)  # fmt: skip
RULES = {
    "precision": Rule(lambda value: str(value) in PRECISIONS, one_of(PRECISIONS).expected, PRECISIONS),
    "batch_size": whole(1),
    "max_epochs": whole(0),
    "enough_pairs": whole(1).or_null("which trains all epochs"),
    "noise": number_from(0),
    "lr": number_above(0),
    "weight_decay": number_from(0),
    "schedule": one_of(SCHEDULES),
    "warmup_fraction": number_from(0, below=1),
    "gradient_clip_val": number_above(0).or_null("which does not clip"),
    "early_stop_patience": whole(1).or_null("which never stops"),
}
