"""Files of the Hub on this machine, in the Hub's own cache, where every program finds them."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from alignkit.errors import HubError
from alignkit.hub.faults import TIMEOUT_S, UnreachableError, asked, hub_api
from alignkit.hub.hub_address import HubAddress, is_hub_address, parse_address

logger = logging.getLogger(__name__)

# what models read, and nothing that is pickled, and no code: no other file is fetched
MODEL_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".md", ".jinja")
MODEL_FILES = tuple(f"*{suffix}" for suffix in MODEL_SUFFIXES)
HEAD_FILES = (
    *(f"{folder}head.{kind}" for folder in ("", "head/") for kind in ("json", "safetensors")),
    "metrics.json",
    *(f"student/*{suffix}" for suffix in MODEL_SUFFIXES),
)


def head_path(path: str | Path) -> Path:
    """A head's own path, `~` expanded, or that of a copy of the head at this address, with its student.

    Raises:
        ConfigError: if it is no address.
        HubError: if the Hub refuses, or cannot be reached and there is no copy.
    """
    return _path(path, HEAD_FILES)


def model_path(path: str | Path) -> Path:
    """The same of a model, such as a student."""
    return _path(path, MODEL_FILES)


def pinned(address: str, is_head: bool = True) -> str:
    """The address of what is there now, fetched: whoever reads it later gets the same files."""
    folder = head_path(address) if is_head else model_path(address)
    # the Hub's cache names the folder by the commit
    return str(HubAddress(parse_address(address).repo, folder.name))


def _path(path: str | Path, files: tuple[str, ...]) -> Path:
    if not is_hub_address(path):
        return Path(path).expanduser()
    address = parse_address(path)
    return _fetched_once(address, files) if address.is_pinned else _fetched(address, files)


def _fetched(address: HubAddress, files: tuple[str, ...]) -> Path:
    def download(local_files_only: bool) -> Path:
        return Path(
            api.snapshot_download(
                address.repo,
                revision=address.revision,
                allow_patterns=list(files),
                local_files_only=local_files_only,
            )
        )

    api = hub_api()
    try:
        with asked(address), _bars_for_people():
            if not address.is_pinned:  # says at once what is wrong, where a download would look at the cache first
                api.repo_info(address.repo, revision=address.revision, timeout=TIMEOUT_S)
            return download(local_files_only=False)
    except UnreachableError as error:
        reason = error
    try:
        with asked(address):
            copy = download(local_files_only=True)
    except UnreachableError:
        raise HubError(
            f"{reason}, and the cache of this machine has no whole copy; fetch it once while the Hub can be reached"
        ) from None
    logger.warning("%s; going on with the copy of commit %s that is in the cache", reason, copy.name[:12])
    return copy


@functools.lru_cache(maxsize=64)
def _fetched_once(address: HubAddress, files: tuple[str, ...]) -> Path:
    """Of a commit, which stays as it is."""
    return _fetched(address, files)


@contextlib.contextmanager
def _bars_for_people() -> Iterator[None]:
    """Progress bars are for a terminal only."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
