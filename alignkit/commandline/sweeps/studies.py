"""Optuna's study of a sweep: where it is stored, who proposes settings, and who gives a run up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alignkit.errors import AlignkitError, ConfigError
from alignkit.extras import check_installed
from alignkit.setting_rules import SEED, SWITCH, Rule, check, one_of, whole

if TYPE_CHECKING:
    from optuna import Study

Direction = Literal["maximize", "minimize"]

STORAGE, JOURNAL = "study.db", ".journal"
# what a sweep is of, in the study
ABOUT = "alignkit"
# epochs that say little yet; trials that a median is taken of
WARM_UP_EPOCHS, WARM_UP_TRIALS = 1, 5
# between the seeds of two processes
WORKER_SEED = 100_003
# that another process writes to an SQLite file
BUSY_S = 120.0


def _are_spaces(value: object) -> bool:
    return value is None or (
        isinstance(value, Mapping) and not any(isinstance(space, Mapping) for space in value.values())
    )


RULES = {
    "params": Rule(_are_spaces, "settings by their whole names, such as {model.hidden: '8,16'}"),
    "n_trials": whole(1),
    "n_jobs": whole(1, 64),
    "sampler": one_of(("tpe", "random", "grid")),
    "seed": SEED,
    "direction": one_of(("maximize", "minimize")).or_null("by the objective"),
    "pruner": one_of(("median", "halving")).or_null("never"),
    "storage": Rule(lambda value: isinstance(value, str) and value != "", "a file or a URL").or_null(),
    "study_name": Rule(lambda value: isinstance(value, str | int) and value != "", "a name").or_null("the command's"),
    "time_embedding": SWITCH,
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no sweep could use.

    Raises:
        ConfigError: for the first such setting.
        MissingExtraError: if Optuna is not installed.
    """
    check(settings, RULES, "hydra.sweeper")
    check_installed("optuna", "optuna")


@contextmanager
def optunas_words_kept_down() -> Iterator[None]:
    """Optuna's log says what the sweep's own lines say; what it calls experimental is of no concern to a user."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(settings: Mapping[str, Any], folder: Path, name: str, direction: Direction, worker: int) -> Study:
    """The study, made where it is new.

    Args:
        settings: of the sweeper.
        folder: of the sweep.
        name: of the study, where the settings give none.
        direction: `maximize` or `minimize`.
        worker: which of several processes this is, so that they draw differently.

    Raises:
        ConfigError: if the storage cannot be used.
    """
    import optuna

    pruners: dict[str | None, Any] = {
        "median": lambda: optuna.pruners.MedianPruner(WARM_UP_TRIALS, WARM_UP_EPOCHS),
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=WARM_UP_EPOCHS),
        None: optuna.pruners.NopPruner,
    }
    storage, named = settings["storage"], settings["study_name"]
    try:
        study = optuna.create_study(
            storage=_storage(storage, folder), study_name=name if named is None else str(named),
            pruner=pruners[settings["pruner"]](), direction=direction, load_if_exists=True,
        )  # fmt: skip
        # who goes on, and who works beside, would draw the same again
        seed = (settings["seed"] + WORKER_SEED * worker + len(study.get_trials(deepcopy=False))) % 2**32
        if settings["sampler"] == "tpe":
            study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        else:  # a grid lies in the storage as trials to come
            study.sampler = optuna.samplers.RandomSampler(seed=seed)
        return study
    except Exception as error:  # noqa: BLE001 - SQLAlchemy's, a driver's, or Optuna's own
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"hydra.sweeper.storage={storage or folder / STORAGE}: cannot be used ({words})") from None


def claim_study(study: Study, about: Mapping[str, Any]) -> None:
    """Note what the study is of, or see that it is of the same.

    Raises:
        ConfigError: if it is of another sweep.
    """
    known = study.user_attrs.get(ABOUT)
    if known is None:
        study.set_user_attr(ABOUT, dict(about))
        return
    if differing := [told for name, value in about.items() for told in _differences(name, known.get(name), value)]:
        raise ConfigError(
            f"the sweep '{study.study_name}' in this storage was begun otherwise ({'; '.join(differing)}); give the "
            "words that it was begun with, or another hydra.sweeper.study_name= or hydra.sweep.dir="
        )


def _differences(name: str, was: Any, now: Any) -> Iterator[str]:
    if not isinstance(was, list) or not isinstance(now, list):
        if was != now:
            yield f"{name}={was}, now {now}"
        return
    yield from (f"{one}, now not" for one in was if one not in now)
    yield from (f"now {one}" for one in now if one not in was)


def _storage(asked: str | None, folder: Path) -> Any:
    """Optuna's, of a file or a URL."""
    import optuna

    if asked is not None and "://" in asked:
        return optuna.storages.RDBStorage(asked, engine_kwargs=_engine(asked))
    path = folder / STORAGE if asked is None else Path(asked).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AlignkitError(str(error.strerror)) from None
    if path.suffix == JOURNAL:
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        # the usual lock is a symbolic link, which Windows wants a privilege for
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))
    url = f"sqlite:///{path.absolute().as_posix()}"
    return optuna.storages.RDBStorage(url, engine_kwargs=_engine(url))


def _engine(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": BUSY_S}} if url.startswith("sqlite") else {}
