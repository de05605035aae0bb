"""Files on a disk or in object storage: found, read by ranges, written whole.

fsspec speaks to the stores, and takes keys, profiles, endpoints and public buckets as its own settings say. Nothing of
that is a setting of ours, so that no key gets into a command, a log or a saved config.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from alignkit.credentials import redacted
from alignkit.errors import ConfigError, DataError
from alignkit.extras import needing
from alignkit.files import write_whole

if TYPE_CHECKING:
    from upath import UPath

    Place: TypeAlias = Path | UPath

# the extra that brings what fsspec needs for an address, and what that is
_NEEDS = {
    "s3": ("s3", "s3fs"),
    "gs": ("gs", "gcsfs"),
    "gcs": ("gs", "gcsfs"),
    "az": ("azure", "adlfs"),
    "abfs": ("azure", "adlfs"),
    "memory": ("s3", "universal-pathlib"),  # of this process alone
}
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# stores name the content of a file in one of these ways
_VERSIONS = (
    "ETag", "etag", "generation", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime", "created",
)  # fmt: skip
# who raises errors of its own for what a store answers
_SPEAKERS = {"botocore", "aiobotocore", "s3fs", "aiohttp", "gcsfs", "google", "azure", "adlfs", "requests", "urllib3"}
_NO_BUCKET = re.compile("(?i)bucket.*does not exist|nosuchbucket")
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; FSSPEC_S3_ANON=true reads a public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; FSSPEC_GS_TOKEN=anon reads a public bucket",
    "az": "AZURE_STORAGE_CONNECTION_STRING",
}


def is_address(path: object) -> bool:
    """Whether this names a file elsewhere and none on a disk.

    >>> is_address("s3://bucket/old.npy"), is_address("C:/old.npy")
    (True, False)
    """
    return bool(_ADDRESS.match(path)) if isinstance(path, str) else hasattr(path, "protocol")


def located(path: str | Place) -> Place:
    """A file or folder on a disk, `~` expanded, or in object storage.

    Raises:
        ConfigError: for an address of another kind, or with a password in it.
        MissingExtraError: without the package that speaks to this kind of store.
    """
    if not isinstance(path, str):
        return path.expanduser() if isinstance(path, Path) else path
    if (found := _ADDRESS.match(path)) is None:
        return Path(path).expanduser()
    scheme, address = found[1].lower(), path
    if scheme not in _NEEDS:
        known = ", ".join(f"{one}://" for one in _NEEDS if one != "memory")
        raise ConfigError(f"{redacted(address)}: expected a path on a disk, or an address with {known}")
    if "@" in (bucket := address[found.end() :].split("/")[0]) or not bucket:
        raise ConfigError(
            f"{redacted(address)}: expected {scheme}://BUCKET/NAME; keys belong into the environment: {_keys(scheme)}"
        )
    with needing(*_NEEDS[scheme]):
        from upath import UPath

        return UPath(f"{scheme}{address[found.end() - 3 :]}")


@contextmanager
def asked(place: Place) -> Iterator[None]:
    """Say in one line what a store refuses within the block.

    Raises:
        DataError: if there is no such file or bucket, it cannot be reached, or these keys have no right to it.
        MissingExtraError: without the package that speaks to this kind of store.
    """
    if isinstance(place, Path):
        yield
        return
    try:
        with needing(*_NEEDS[place.protocol]):
            yield
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in _SPEAKERS:
            raise
        raise DataError(redacted(f"{place}: {_why(place, error)}")) from None


def state_of(place: Place) -> dict[str, Any]:
    """What changes when the file does, as plain values: its size, and when it was written or the store's own version.

    Raises:
        DataError: if there is no such file.
        OSError: the same on a disk.
    """
    if isinstance(place, Path):
        found = place.stat()
        return {"size_bytes": found.st_size, "modified_ns": found.st_mtime_ns}
    with asked(place):
        place.fs.invalidate_cache()
        about = place.fs.info(place.path)
    if about["type"] != "file":
        raise DataError(f"{place}: expected a file, but it is a folder")
    version = next((str(about[name]) for name in _VERSIONS if about.get(name) is not None), "")
    return {"size_bytes": int(about["size"]), "version": version}


def is_there(place: Place) -> bool:
    """Whether there is such a file.

    Raises:
        DataError: if the store does not say, as where there is no such bucket.
    """
    if isinstance(place, Path):
        return place.is_file()
    with asked(place):
        place.fs.invalidate_cache()
        try:
            return bool(place.fs.info(place.path)["type"] == "file")
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise
            return False


def is_folder(place: Place) -> bool:
    """Whether there are files below this name.

    Raises:
        DataError: if the store does not say.
    """
    if isinstance(place, Path):
        return place.is_dir()
    with asked(place):
        place.fs.invalidate_cache()
        return bool(place.is_dir())


def files_below(folder: Place, suffix: str) -> list[Place]:
    """The files right in a folder whose names end so, in the order of their names.

    Raises:
        DataError: if the store refuses.
    """
    with asked(folder):
        return sorted(folder.glob(f"*{suffix}"), key=lambda place: place.name)


def names_within(folder: Place) -> list[str]:
    """The files of a folder and of its folders: names from it on, with `/` between.

    Raises:
        DataError: if the store refuses.
    """
    if isinstance(folder, Path):
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with asked(folder):
        folder.fs.invalidate_cache()
        root = folder.path.rstrip("/")
        return sorted(path[len(root) + 1 :] for path in folder.fs.find(root))


def read_range(place: Place, start: int, stop: int) -> bytes:
    """Some bytes of a file; fewer where it ends before.

    Raises:
        DataError: if the store refuses.
        OSError: if a disk does.
    """
    if isinstance(place, Path):
        with place.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)
    with asked(place):
        return bytes(place.fs.cat_file(place.path, start=start, end=stop))


def write_object(place: Place, content: bytes | Path) -> None:
    """Write a file whole: who reads it finds the old one or the new one.

    Args:
        place: where a file of this name is replaced.
        content: bytes, or a file on a disk.

    Raises:
        DataError: if the store refuses.
    """
    if isinstance(place, Path):
        write_whole(place, content.read_bytes() if isinstance(content, Path) else content)
        return
    with asked(place):
        if isinstance(content, Path):
            place.fs.put_file(str(content), place.path)
        else:
            place.fs.pipe_file(place.path, content)


def _why(place: UPath, error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "there is no such bucket" if _NO_BUCKET.search(words) else "there is no such file"
    if isinstance(error, PermissionError):
        return f"these keys have no right to it ({words}); ask for it, or give others: {_keys(place.protocol)}"
    if re.search("(?i)credentials", type(error).__name__ + words):
        return f"no keys were found; set {_keys(place.protocol)}"
    if re.search("(?i)connect|timeout|resolve", type(error).__name__):
        return f"the store does not answer ({words}); is its address right?"
    return words


def _keys(scheme: str) -> str:
    return _KEYS.get({"gcs": "gs", "abfs": "az"}.get(scheme, scheme), "the settings of the package that reaches it")
