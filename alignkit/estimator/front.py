"""`alignkit.fit`: takes two arrays and returns a head with a report of its quality."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from alignkit.errors import ConfigError
from alignkit.estimator.arrays import as_pairs, split_pairs
from alignkit.estimator.fitted import Fitted
from alignkit.estimator.plan import make_plan
from alignkit.estimator.report import Report
from alignkit.estimator.trained import carry_out
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.parts import settings_of_command, settings_of_part
from alignkit.progress import no_progress
from alignkit.training.run_settings import check_settings

# settings that only the command has
NOT_HERE = ("threads", "resume", "update", "forget", "keep_moments", "cache_dir", "seed")


def fit(
    student_vectors: Any,
    teacher_vectors: Any,
    *,
    texts: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    together: Sequence[Any] | None = None,
    model: str = "auto",
    loss: str | None = None,
    settings: Mapping[str, Any] | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Fitted:
    """Train a head that maps student vectors into the teacher's space, and report its quality.

    The same heads, losses, recipes and defaults as `python -m alignkit.train`, with the same code. Row i of
    every argument is the same sentence. Shares of the rows are held out: the validation split makes the choices, the
    test split the report.

    Args:
        student_vectors: `(N, student_dim)`, as the cheap model returns them: NumPy arrays, memory maps, torch tensors
            or nested lists, float16 to float64. Arrays and memory maps are not copied.
        teacher_vectors: `(N, teacher_dim)`, likewise.
        texts: the N sentences; equal ones stay in one split, and the report names them.
        labels: N names; equal ones are relevant to each other, which gives recall, MRR and nDCG in the report.
        together: N names; rows of one name stay in the same split (paraphrases of one sentence, say).
        model: a head by the name of its YAML (`linear`, `kernel`, `mlp` ...), or `auto`, which tries several
            within two minutes and keeps the one that is reliably best.
        loss: by the name of its YAML; `None` is `auto`: the best one for training the head.
        settings: any other setting of the `train` command by its dotted name:
            `{"model.hidden": 1024, "trainer.max_epochs": 3, "lr": 1e-4}`.
        validation: share of the rows.
        test: share of the rows.
        seed: an int; the same seed gives the same head on the same machine.
        device: `auto` takes CUDA where it is present; `cpu`, `cuda`.
        progress: show the training's progress on stderr, if that is a terminal.

    Returns:
        The head, with `report` of the held-out test split.

    Raises:
        DataError: if arrays are unusable or do not match; the message names the first bad row.
        ConfigError: for an unknown head, loss or setting, or one that does not fit.

    >>> import numpy as np
    >>> student = np.random.default_rng(0).normal(size=(400, 16))
    >>> teacher = student @ np.random.default_rng(1).normal(size=(16, 32))
    >>> fitted = fit(student, teacher, model="linear", settings={"trainer.max_epochs": 0})
    >>> fitted.transform(student[:2]).shape
    (2, 32)
    >>> fitted.report.rows["aligned"]["cosine_mean"] > 0.99
    True
    """
    chosen = composed_settings(model, loss, settings or {}, seed, device)
    check_settings(chosen)
    whole = as_pairs(student_vectors, teacher_vectors, texts, labels)
    splits = split_pairs(whole, together=together, validation=validation, test=test, seed=seed)
    with contextlib.nullcontext() if progress else no_progress():
        plan = make_plan(chosen, splits, None)
        trained = carry_out(plan, splits, leaks=leaks_of_splits(splits))
    if trained is None:
        raise ConfigError("fit runs in one process; take the train command for several")
    return Fitted(trained.artifact, trained.baselines, Report(trained.result), splits, trained.sample)


def composed_settings(model: str, loss: str | None, given: Mapping[str, Any], seed: int, device: str) -> dict[str, Any]:
    """Settings as the command composes them.

    Raises:
        ConfigError: for an unknown part or setting, or settings that are no names with values.
    """
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f'settings={given!r}: expected names with values, such as {{"trainer.max_epochs": 3}}')
    composed = {name: value for name, value in settings_of_command("train").items() if name not in NOT_HERE}
    composed |= {
        "model": settings_of_part("model", model, seed),
        "loss": settings_of_part("loss", loss or "auto", seed),
        "device": {"name": device},
    }
    for name, value in given.items():
        _set(composed, name, value)
    return composed | {"seed": seed}


def _set(composed: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    node: Any = composed
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    # Lightning's Trainer has more settings than our YAML names
    known = isinstance(node, dict) and (last in node or path == ["trainer"])
    if not known or last.startswith("_"):
        raise ConfigError(
            f"settings: unknown setting '{name}'; expected one as python -m alignkit.train --help lists them"
        )
    node[last] = value
