"""The two files of a head, in a folder or in a bundle, as they are read: a description and the bytes of the weights."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from alignkit import __version__
from alignkit.errors import ArtifactError
from alignkit.hub.fetching import head_path
from alignkit.hub.hub_address import is_hub_address, is_repo_name

FORMAT_VERSION = 1
JSON_NAME, WEIGHTS_NAME = "head.json", "head.safetensors"
BUNDLE_SUFFIX = ".zip"
LONGEST_DESCRIPTION_BYTES = 16 * 1024 * 1024


class HeadFiles(NamedTuple):
    """What was read.

    Attributes:
        description: `head.json`, parsed.
        weights: the bytes of `head.safetensors`.
        name: of the folder or bundle, for messages.
    """

    description: dict[str, Any]
    weights: bytes
    name: str


def read_head_files(path: str | Path) -> HeadFiles:
    """Read a folder of the two files, a run folder that has one in `head/`, a bundle (`.zip`), or `hf://user/repo`.

    Raises:
        ArtifactError: if a file is missing, cannot be read, or needs a newer alignkit.
        HubError: if the Hub refuses.
    """
    if (bundle := bundle_at(path)) is not None:
        return _read_bundle(bundle)
    folder = find_head(path)
    description = _parse_description(_read(folder / JSON_NAME), folder / JSON_NAME)
    return HeadFiles(description, _read(folder / WEIGHTS_NAME), str(folder))


def bundle_at(path: str | Path) -> Path | None:
    """The bundle that a head is named by; `None` where it is named otherwise."""
    if is_hub_address(path):
        return None
    path = Path(path).expanduser()
    return path if path.suffix.lower() == BUNDLE_SUFFIX and path.is_file() else None


def find_head(path: str | Path) -> Path:
    """The folder that holds `head.json`: the one given, its `head/`, or a copy of the repository at an address.

    Raises:
        ArtifactError: if there is none.
        HubError: if the Hub refuses.
    """
    here = head_path(path)
    for folder in (here, here / "head"):
        if (folder / JSON_NAME).is_file():
            return folder
    if is_hub_address(path):
        raise ArtifactError(f"{path}: this repository holds no {JSON_NAME}; expected one that export push= made")
    on_hub = (
        f", or hf://{path} for a repository on the Hub" if is_repo_name(str(path)) and not here.parent.exists() else ""
    )
    raise ArtifactError(
        f"{here}: no {JSON_NAME} there nor in {here / 'head'}; expected a run folder or its head/{on_hub}"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}; copy the whole folder of the head") from None


def _read_bundle(path: Path) -> HeadFiles:
    """Nothing is unpacked to disk, and no entry is read but the two that a head consists of."""
    try:
        with zipfile.ZipFile(path) as bundle:
            entries = bundle.infolist()
            if escaping := [entry.filename for entry in entries if escapes(entry.filename)]:
                raise ArtifactError(f"{path}: holds the path {escaping[0]!r}, which leads out of it; refused")
            description, weights = (_only(entries, f"head/{name}") for name in (JSON_NAME, WEIGHTS_NAME))
            # stored as they are, weights cannot be larger than the file that was handed over
            if weights.compress_type != zipfile.ZIP_STORED or weights.file_size > path.stat().st_size:
                raise ArtifactError(f"{path}: {WEIGHTS_NAME} is compressed; make the bundle with format=bundle")
            if description.file_size > LONGEST_DESCRIPTION_BYTES:
                raise ArtifactError(
                    f"{path}: {JSON_NAME} has {description.file_size} bytes, expected at most "
                    f"{LONGEST_DESCRIPTION_BYTES}; refused"
                )
            parsed = _parse_description(bundle.read(description), path / JSON_NAME)
            return HeadFiles(parsed, bundle.read(weights), str(path))
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(
            f"{path}: not a readable bundle ({message}); expected what python -m alignkit.export format=bundle writes"
        ) from None


def _only(entries: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    found = [entry for entry in entries if entry.filename == name]
    if len(found) != 1:
        raise ValueError(f"holds {len(found)} entries {name}, not one")
    return found[0]


def escapes(name: str) -> bool:
    """Whether the name of an archive's entry leads out of the folder that it would be unpacked into."""
    return ".." in PurePosixPath(name.replace("\\", "/")).parts or name.startswith(("/", "\\")) or ":" in name


def _parse_description(text: bytes, path: Path) -> dict[str, Any]:
    try:
        description = json.loads(text, parse_constant=_no_number)
        version = description["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path}: not readable as a head's description ({type(error).__name__})") from None
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format {version}, this alignkit {__version__} reads format {FORMAT_VERSION}; "
            f"upgrade alignkit (the head was saved by {description.get('alignkit_version', 'another version')})"
        )
    return description


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number")  # json reads NaN and Infinity, which no argument of a head may be
