"""Texts that a model could not embed, by key, with the reason: one small file an identity.

Whether a model fails depends on the text, so they are not sent again unless the user asks for it (after a fix, say).
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np

from alignkit.files import refused, write_whole

log = logging.getLogger(__name__)

FOLDER = "quarantine"
_DIGEST = re.compile(r"([0-9a-f]{2})+")


def _path(folder: Path, digest: bytes) -> Path:
    return folder / FOLDER / f"{digest.hex()}.json"


def read_quarantine(folder: Path, digest: bytes) -> dict[str, str]:
    """Hex key -> reason, of one identity in the cache at `folder`; empty where there is none."""
    path = _path(folder, digest)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(reason) for key, reason in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, RecursionError):
        log.warning("%s is damaged; its texts count as not yet embedded", path)
        return {}


def write_quarantine(folder: Path, digest: bytes, entries: dict[str, str]) -> None:
    """Replace the entries of an identity; the caller holds its lock."""
    path = _path(folder, digest)
    if not entries:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise refused(path, error) from None
        return
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(entries, indent=0))


def quarantined_digests(folder: Path) -> list[bytes]:
    """Identities that have entries; other files, such as copies made by cloud drives, are ignored."""
    return [
        bytes.fromhex(path.stem) for path in sorted((folder / FOLDER).glob("*.json")) if _DIGEST.fullmatch(path.stem)
    ]


def hex_keys(keys: np.ndarray) -> list[str]:
    """Keys `(N,)` as the file spells them."""
    return [key.tobytes().hex() for key in keys]
