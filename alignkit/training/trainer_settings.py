"""Which arguments of Lightning's `Trainer` a user may set as `trainer.*`, and what is wrong with the others."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Callable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from alignkit.errors import ConfigError
from alignkit.setting_rules import Rule, check, is_whole

# set here, or without effect on a fit; the text says what to do instead
NOT_TAKEN = {
    "accelerator": "the device is chosen by device=cpu, cuda or auto",
    "barebones": "validation and checkpoints are part of every run; take trainer.max_epochs=1 for a short one",
    "callbacks": "a callback is code, which no setting can name; early_stop_patience= stops early, and the best state "
    "and checkpoints are kept anyway",
    "default_root_dir": "the run folder is chosen by hydra.run.dir=",
    "enable_checkpointing": "checkpoints are what resume= goes on from",
    "fast_dev_run": "a head trained on one batch is not a result; take trainer.max_steps=1 for a short run",
    "limit_predict_batches": "training predicts nothing",
    "limit_test_batches": "the test split is evaluated whole",
    "logger": "TensorBoard events and metrics.json in the run folder are the log: tensorboard --logdir outputs",
    "model_registry": "the head in the run folder is what is kept",
    "overfit_batches": "batches are made anew each epoch; take trainer.limit_train_batches, or a small data set",
    "plugins": "a plugin is code, which no setting can name; trainer.precision= and trainer.strategy= choose the usual",
    "use_distributed_sampler": "pairs are dealt out to the processes without a sampler",
}


# those that every device has, or that fall back to one
PLAIN_PRECISIONS = ("auto", "bf16", "32-true")


def _whole(least: int, also: tuple[Any, ...] = ()) -> Callable[[Any], bool]:
    return lambda value: value in also or (is_whole(value) and value >= least)


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value <= 1


def _is_limit(value: Any) -> bool:
    return value is None or _is_share(value) or (is_whole(value) and value >= 1)


def _is_strategy(value: Any) -> bool:
    # other strategies shard a head over processes, or leave the trained head in a process that ends
    return value == "auto" or (
        isinstance(value, str)
        and value.startswith("ddp")
        and not any(word in value for word in ("spawn", "fork", "notebook"))
    )


def _is_time(value: Any) -> bool:
    return value is None or isinstance(value, Mapping) or bool(re.fullmatch(r"\d+:\d\d:\d\d:\d\d", str(value)))


_LIMIT = "a share above 0 and at most 1, or a whole number of batches from 1 on"
RULES = {
    "accumulate_grad_batches": Rule(_whole(1), "a whole number of batches from 1 on"),
    "check_val_every_n_epoch": Rule(_whole(1, (None,)), "a whole number of epochs from 1 on, or null"),
    "gradient_clip_algorithm": Rule(lambda value: value in (None, "norm", "value"), "norm or value"),
    "limit_train_batches": Rule(_is_limit, f"{_LIMIT}; trainer.max_epochs=0 trains nothing"),
    "limit_val_batches": Rule(_is_limit, f"{_LIMIT}; the state that is kept is chosen on validation"),
    "log_every_n_steps": Rule(_whole(0, (None,)), "a whole number of steps, 0 for no log of them"),
    "max_time": Rule(_is_time, "a time as DD:HH:MM:SS, such as 00:01:30:00"),
    "max_steps": Rule(
        _whole(1, (-1,)), "a whole number of steps from 1 on, or -1; trainer.max_epochs=0 trains nothing"
    ),
    "min_epochs": Rule(_whole(0, (None,)), "a whole number of epochs"),
    "min_steps": Rule(_whole(0, (None,)), "a whole number of steps"),
    "num_nodes": Rule(_whole(1), "a whole number of machines from 1 on"),
    "num_sanity_val_steps": Rule(_whole(-1), "a whole number of batches, -1 for all"),
    "strategy": Rule(_is_strategy, "auto or ddp: a head is small enough for one device"),
    **dict.fromkeys(
        (
            "benchmark",
            "detect_anomaly",
            "enable_model_summary",
            "enable_progress_bar",
            "inference_mode",
            "sync_batchnorm",
        ),
        Rule(lambda value: value in (None, True, False), "true or false"),
    ),
    "deterministic": Rule(lambda value: value in (None, True, False, "warn"), "true, false or warn"),
    "val_check_interval": Rule(
        lambda value: isinstance(value, str | Mapping) or _is_limit(value),
        f"{_LIMIT}, or a time as DD:HH:MM:SS",
    ),
}


def check_trainer_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that Lightning's `Trainer` does not have, or that a run cannot use.

    Raises:
        ConfigError: for the first such setting, with what to do instead.
    """
    for name, value in settings.items():
        if name in NOT_TAKEN:
            raise ConfigError(f"trainer.{name}={value}: not taken, {NOT_TAKEN[name]}")
        if name not in RULES and name not in (known := sorted(arguments_of_trainer() - NOT_TAKEN.keys())):
            meant = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean trainer.{meant[0]}?" if meant else f"expected one of {', '.join(known)}"
            raise ConfigError(f"trainer.{name}: Lightning's Trainer has no such argument; {hint}")
    check(settings, RULES, "trainer")


@functools.cache
def arguments_of_trainer() -> frozenset[str]:
    """Names of the arguments of Lightning's `Trainer`, read from its file: importing it takes seconds."""
    path = Path(str(distribution("lightning").locate_file("lightning/pytorch/trainer/trainer.py")))
    classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    methods = next(node for node in classes if node.name == "Trainer").body
    made = next(node for node in methods if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    return frozenset(argument.arg for argument in (*made.args.args, *made.args.kwonlyargs)) - {"self"}


def only_lightning_judges(settings: Mapping[str, Any], precision: str) -> bool:
    """Whether something is set that no rule here says all about, so that a `Trainer` has to be made to know.

    Args:
        settings: of the trainer.
        precision: by the recipe.
    """
    return (
        bool(settings.keys() - RULES.keys() - {"devices"})
        or precision not in PLAIN_PRECISIONS
        or not (settings.get("devices", 1) == settings.get("num_nodes", 1) == 1)
    )


def check_batches(settings: Mapping[str, Any], train_batches: int, validation_batches: int) -> None:
    """Refuse limits and intervals that leave no batch, which can be checked only once the pairs are known.

    Args:
        settings: of the trainer.
        train_batches: of one epoch and process.
        validation_batches: of one validation and process.

    Raises:
        ConfigError: for the first such setting.
    """
    for name, batches in (("limit_train_batches", train_batches), ("limit_val_batches", validation_batches)):
        limit = settings.get(name)
        if isinstance(limit, float) and int(batches * limit) == 0:
            raise ConfigError(
                f"trainer.{name}={limit:g}: no batch is left of {batches}; expected at least {1 / batches:.2g}, or a "
                "whole number of batches"
            )
    limit = settings.get("limit_train_batches")
    if limit is not None:
        train_batches = int(train_batches * limit) if isinstance(limit, float) else min(train_batches, limit)
    interval = settings.get("val_check_interval")
    if (
        isinstance(interval, int)
        and interval > train_batches
        and settings.get("check_val_every_n_epoch", 1) is not None
    ):
        raise ConfigError(
            f"trainer.val_check_interval={interval}: an epoch has {train_batches} batches; expected at most so many, a "
            "share such as 0.5, or trainer.check_val_every_n_epoch=null too, which counts batches over all epochs"
        )
