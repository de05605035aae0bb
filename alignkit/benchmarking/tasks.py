"""The tasks that a user names: folders on this machine, and MTEB's own, whose data come from the Hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from alignkit.benchmarking.folder_task import folder_task
from alignkit.benchmarking.mteb_model import import_mteb
from alignkit.errors import AlignkitError, ConfigError, DataError

logger = logging.getLogger(__name__)

_TEXT = "text"
OFFLINE, HUB, ANSWER_S = "HF_HUB_OFFLINE", "https://huggingface.co", 10.0


def names_of_tasks(given: str | Sequence[str]) -> list[str]:
    r"""Names out of a setting: a list, or a text as it is typed; a folder's name may hold spaces and backslashes.

    >>> names_of_tasks(r"[C:\data\my faq, NFCorpus]")
    ['C:\\data\\my faq', 'NFCorpus']
    """
    if not isinstance(given, str):
        return [*given]
    if Path(given).expanduser().is_dir():  # a comma in its name is one
        return [given]
    within = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    return [name for one in within.split(",") if (name := one.strip().strip("'\""))]


def offline_if_unreachable(names: Sequence[str]) -> None:
    """Let what the Hub's cache holds be taken at once where the Hub does not answer: its client would try for a minute.

    To be called before mteb is imported: its libraries look at the variable then.
    """
    if os.environ.get(OFFLINE) or all(Path(name).expanduser().is_dir() for name in names):
        return
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    try:
        httpx.head(endpoint, timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        os.environ[OFFLINE] = "1"
        logger.warning(
            "the Hub does not answer (%s); going on with what is cached of it", error or type(error).__name__
        )


def tasks_named(names: Sequence[str], split: str = "test", document: str = "title+text") -> list[Any]:
    """The tasks with their data, in the order of the names.

    Args:
        names: of tasks of MTEB, and folders.
        split: of folders, see `read_beir`.
        document: likewise.

    Raises:
        ConfigError: for a name that is neither, two tasks of one name, and tasks of pictures or sound.
        DataError: if a folder cannot be used, or the Hub cannot be reached.
        MissingExtraError: without mteb.
    """
    import_mteb()
    if not names:
        raise ConfigError("tasks is empty; name a BEIR folder or a task of MTEB: tasks=[faq,NFCorpus]")
    # all names before the first fetch
    found = [_named(name, split, document) for name in names]
    called = [task.metadata.name for task in found]
    if twice := next((name for name in called if called.count(name) > 1), None):
        raise ConfigError(
            f"tasks: two are called {twice}, and the results of one would replace the other's; rename one"
        )
    for task in found:
        _load(task)
    return found


def _named(name: str, split: str, document: str) -> Any:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder_task(folder, split, document)
    if folder.exists() or any(mark in name for mark in "/\\~"):
        raise DataError(f"tasks: there is no folder {name}; expected one of corpus.jsonl, queries.jsonl and qrels/")
    try:
        task = import_mteb().get_task(name)
    except KeyError as error:
        near = str(error).rpartition("Did you mean: ")[2].strip("\"'?") if "Did you mean" in str(error) else ""
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(f"tasks: {name} is neither a task of MTEB nor a folder{hint}") from None
    others = [kind for kind in task.metadata.modalities if kind != _TEXT]
    if others:
        raise ConfigError(f"tasks: {name} is about {' and '.join(others)}; heads are for texts")
    return task


def _load(task: Any) -> None:
    """Fetch the data once for all models."""
    if task.data_loaded or not hasattr(task, "load_data"):
        return
    try:
        task.load_data()
    except AlignkitError:
        raise
    except Exception as error:  # datasets, huggingface_hub and requests raise a zoo of them
        reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
        raise DataError(
            f"{task.metadata.name}: its data cannot be had from the Hugging Face Hub ({reason}); is it reachable, and "
            "HF_HUB_OFFLINE not set? A BEIR folder on this machine needs no Hub: tasks=[FOLDER]"
        ) from None
