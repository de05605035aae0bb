"""Addresses of repositories on the Hub: `hf://user/repo`, or `hf://user/repo@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from alignkit.credentials import redacted
from alignkit.errors import ConfigError

# a `Path` of an address has one slash, or backslashes on Windows
_SCHEME = re.compile(r"(?i)hf:[\\/]+")
_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST_NAME = 96
EXPECTED = "expected hf://user/repo or hf://user/repo@revision"


@dataclass(frozen=True)
class HubAddress:
    """A repository of a model.

    Attributes:
        repo: `user/repo`.
        revision: branch, tag or commit; None for what the Hub shows first.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")

    @property
    def is_pinned(self) -> bool:
        """Whether it names a commit, so that its files can never be others."""
        return is_commit(self.revision or "")


def is_hub_address(path: object) -> bool:
    """Whether this names a repository on the Hub.

    >>> is_hub_address("hf://user/repo"), is_hub_address("outputs/train/first")
    (True, False)
    """
    return isinstance(path, str | Path) and bool(_SCHEME.match(str(path)))


def parse_address(text: str | Path) -> HubAddress:
    """What an address names.

    Raises:
        ConfigError: if it is none.

    >>> parse_address("hf://user/repo@v1.0")
    HubAddress(repo='user/repo', revision='v1.0')
    """
    shown = str(text)
    rest = _SCHEME.sub("", shown.replace("\\", "/"), count=1).removeprefix("models/")
    repo, at, revision = rest.rstrip("/").partition("@")
    if not is_repo_name(repo) or (at and not revision.strip()):
        raise ConfigError(f"{redacted(shown)}: {EXPECTED}")
    return HubAddress(repo, revision or None)


def is_repo_name(text: str) -> bool:
    """Whether a text can be the name of a repository.

    >>> is_repo_name("user/repo"), is_repo_name("repo"), is_repo_name("user/../repo")
    (True, False, False)
    """
    parts = text.split("/")
    fits = all(_NAME.fullmatch(part) and ".." not in part and "--" not in part for part in parts)
    return len(parts) == 2 and fits and len(text) <= _LONGEST_NAME and not text.endswith(".git")


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which never changes."""
    return bool(_COMMIT.fullmatch(revision))
