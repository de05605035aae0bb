"""Writes files atomically: one alone, or several together."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alignkit.errors import AlignkitError

# on Windows a virus scanner or a reader may hold a file for a moment, during which it cannot be replaced
PATIENCE_S = 2.0 if os.name == "nt" else 0.0
RETRY_S = 0.02
# 13 characters whatever the file's name, so that paths near Windows' limit of 260 do not get longer
UNFINISHED = ".part"
OLD = "old"
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_whole(path: Path, content: str | bytes, encoding: str = "utf-8") -> None:
    """Write beside the path, flush to the disk, then rename: no reader ever sees a partial file.

    Threads and processes may write to one path at the same time: each uses its own temporary file, and the last wins.

    Args:
        path: of the file; missing parent folders are created.
        content: text is encoded with its line endings unchanged.
        encoding: of text.

    Raises:
        AlignkitError: if it cannot be written, on a full disk for instance; an existing file is left unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as temporary, temporary.open("wb") as file:
            file.write(content.encode(encoding) if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        raise refused(path, error) from None


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield a name to write a file under; if the block succeeds, it is moved to `path`, and otherwise it is gone.

    Args:
        path: of the file; its folder is there.

    Raises:
        OSError: if the system refuses; an existing file is left unchanged then.
    """
    unfinished = unfinished_name(path.parent)
    try:
        yield unfinished
        move(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def appearing_together(folder: Path) -> Iterator[Path]:
    """Yield a folder to write files into; if the block succeeds, all of them are moved to `folder`, or none.

    Args:
        folder: created if missing. Files of the same names are replaced, others stay.

    Yields:
        An empty folder inside it, on the same disk.

    Raises:
        AlignkitError: if a file cannot be replaced or the folder cannot be written; nothing is changed then.
    """
    staging = unfinished_name(folder)
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise refused(folder, error) from None
    try:
        yield staging
        _take_places(staging, folder)
    except BaseException:
        # keep the folder if it still holds an old file that could not be put back
        if not any((staging / OLD).glob("*")):
            shutil.rmtree(staging, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _take_places(staging: Path, folder: Path) -> None:
    names = sorted(path.name for path in staging.iterdir())
    done: list[tuple[Path, Path]] = []
    path = folder
    try:
        (staging / OLD).mkdir()
        for name in names:
            with (staging / name).open("r+b") as file:
                os.fsync(file.fileno())
        # move all old files aside first, so that a file in use fails before anything has changed
        for name in names:
            path = folder / name
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if path.exists():
                done.append(_moved(path, staging / OLD / name))
        for name in names:
            path = folder / name
            done.append(_moved(staging / name, path))
        _sync_folder(folder)
    except BaseException as error:
        for source, target in reversed(done):
            with suppress(OSError):
                move(target, source)
        if isinstance(error, OSError):
            raise refused(path, error) from None
        raise


def _moved(source: Path, target: Path) -> tuple[Path, Path]:
    move(source, target)
    return source, target


def move(source: Path, target: Path) -> None:
    """Rename, replacing an existing file; on Windows, retry while another program briefly holds either file.

    Raises:
        OSError: if the system still refuses after that.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_S)


def let_others_read(folder: Path) -> None:
    """Give every file of a folder the folder's own rights: safetensors lets nobody else read what it writes.

    A container that serves a head reads it as another user.
    """
    rights = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(rights)


def unfinished_name(folder: Path) -> Path:
    """A file name in a folder that no other writer uses."""
    return folder / f"{secrets.token_hex(4)}{UNFINISHED}"


def refused(path: Path, error: OSError) -> AlignkitError:
    """The error that says what could not be written, why, and what to do about it."""
    return AlignkitError(f"{path}: could not be written ({error.strerror or error}); {way_out(error)}")


def way_out(error: OSError) -> str:
    """What the user can do if the system refuses to write.

    >>> way_out(OSError(28, "No space left on device"))
    'free some space and try again'
    """
    if is_full(error):
        return "free some space and try again"
    if isinstance(error, PermissionError):
        return "close what uses it, or choose another place, and try again"
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name or another place"
    return "choose another place"


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in _NO_SPACE


def why_no_name(folder: Path, length: int) -> OSError | None:
    """Why no file with a name of this length can be created in the folder: no write access, or too long a path.

    Returns:
        `None` if one could be created; it is removed again.
    """
    probe = folder / unfinished_name(folder).name.rjust(length, "0")
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        return error
    return None


def _sync_folder(folder: Path) -> None:
    """Sync the folder, where the system supports it, so that file names survive a power cut too."""
    if os.name != "posix":
        return
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
