"""How a head is fitted only to be judged."""

from __future__ import annotations

from dataclasses import replace

from alignkit.training.fit import Fitter

# arguments of Lightning's Trainer that start further processes
SEVERAL_PROCESSES = ("devices", "strategy", "num_nodes")


def alone(fitter: Fitter, *, trained: bool) -> Fitter:
    """The fitter for a try: in this process, writing nothing.

    Several processes would have to try the same heads at the same time, but each has its own clock.

    Args:
        fitter: of the head.
        trained: as it would be trained; False leaves it at its starting point, the closed form.
    """
    recipe = fitter.recipe if trained else replace(fitter.recipe, max_epochs=0)
    settings = {name: value for name, value in fitter.trainer_settings.items() if name not in SEVERAL_PROCESSES}
    return replace(fitter, recipe=recipe, run_folder=None, trainer_settings=settings)
