"""What settings of `evaluate` may be."""

from __future__ import annotations

from alignkit.setting_rules import SEED, SWITCH, Rule, one_of, whole

SEARCHES = ("exact", "faiss")
RULES = {
    "seed": SEED,
    "resamples": whole(1),
    **dict.fromkeys(("learning_curve", "html", "tensorboard"), SWITCH),
    "time_embedding": Rule(
        lambda value: value in ("auto", True, False), "auto, true or false", ("auto", "true", "false")
    ),
    "search": one_of(SEARCHES),
}
