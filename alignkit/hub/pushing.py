"""A folder becomes a commit of a repository on the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from alignkit.errors import ConfigError, HubError
from alignkit.hub.faults import LOG_IN, TIMEOUT_S, asked, hub_api
from alignkit.hub.hub_address import HubAddress, is_commit, is_hub_address, is_repo_name, parse_address

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

# of an export: it lists what lies beside it
MANIFEST = "manifest.json"
# folders that are ours: what lies there from an earlier push and is not in this one goes
OWN_FOLDERS = ("head", "student")


@dataclass(frozen=True)
class Destination:
    """Where an export is put.

    Attributes:
        repo: `user/repo`; made if it is not there.
        private: of a repository that is made; null leaves it to the account.
        revision: the branch, made if it is not there; null is the main one.
        create_pr: propose it in a pull request.
    """

    repo: str
    private: bool | None = None
    revision: str | None = None
    create_pr: bool = False

    @classmethod
    def of(
        cls, push: str, private: bool | None = None, revision: str | None = None, create_pr: bool = False
    ) -> Destination:
        """From what was typed.

        Raises:
            ConfigError: if it names no repository, or what no commit can be put on.
        """
        repo = push
        if is_hub_address(push):
            address = parse_address(push)
            repo, revision = address.repo, revision or address.revision
        if not is_repo_name(repo):
            raise ConfigError(f"push={push}: expected user/repo, as the Hub names a repository")
        if revision is not None and is_commit(revision):
            raise ConfigError(f"revision={revision}: a commit stays as it is; name a branch")
        if create_pr and revision is not None:
            raise ConfigError("create_pr=true: the Hub takes pull requests to the main branch only; leave revision out")
        return cls(repo, private, revision, create_pr)


@dataclass(frozen=True)
class Pushed:
    """What the Hub made of it.

    Attributes:
        url: of the commit, or of the pull request.
        address: what loads it, this very commit.
        is_private: whether only those who are let in see it.
    """

    url: str
    address: str
    is_private: bool


def check_destination(to: Destination) -> bool:
    """Whether the repository is there; said before anything is computed.

    Raises:
        HubError: without a token that may write, or if what should be private would be public.
    """
    api = hub_api()
    from huggingface_hub import get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    what = f"push={to.repo}"
    if get_token() is None:
        raise HubError(f"{what}: there is no token for the Hub on this machine; {LOG_IN}")
    with asked(what):
        token = (api.whoami().get("auth") or {}).get("accessToken") or {}
        if token.get("role") == "read":
            raise HubError(f"{what}: this token may only read; take one that may write")
        try:
            found = api.repo_info(to.repo, timeout=TIMEOUT_S)
        except RepositoryNotFoundError:
            if to.create_pr:
                raise HubError(
                    f"{what}: there is no such repository to open a pull request in, or it is not open to you; leave "
                    "create_pr out, and it is made"
                ) from None
            return False
    if to.private and not found.private:
        raise _public(to)
    return True


def push_folder(folder: Path, to: Destination, message: str, is_there: bool) -> Pushed:
    """Put all files of a folder into one commit; make the repository and the branch where they are not there.

    What an earlier push put there and this one does not goes in the same commit; files of others stay.

    Args:
        folder: what is in it goes there, and nothing else.
        to: where.
        message: of the commit.
        is_there: what `check_destination` says.

    Raises:
        HubError: if the Hub refuses; the repository then holds what it held before.
    """
    api = hub_api()
    with asked(f"push={to.repo}"):
        if not is_there:
            api.create_repo(to.repo, private=to.private)
        is_private = bool(api.repo_info(to.repo, timeout=TIMEOUT_S).private)
        if to.private and not is_private:  # before anything is there to be seen
            raise _public(to)
        if to.revision is not None and not to.revision.startswith("refs/"):
            api.create_branch(to.repo, branch=to.revision, exist_ok=True)
        here = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        there = api.list_repo_files(to.repo, revision=to.revision)
        commit = api.create_commit(
            to.repo,
            list(_operations(folder, sorted(here), there, _pushed_before(api, to, there))),
            commit_message=message,
            revision=to.revision,
            create_pr=to.create_pr,
        )
    address = HubAddress(to.repo, commit.pr_revision or commit.oid)
    return Pushed(str(commit.pr_url or commit.commit_url), str(address), is_private)


def _public(to: Destination) -> HubError:
    return HubError(
        f"push={to.repo}: the repository is public, and private=true was asked for; make it private in its settings on "
        "the Hub, or choose another name"
    )


def _pushed_before(api: HfApi, to: Destination, there: list[str]) -> set[str]:
    """What the export that lies there now says that it holds; nothing where its manifest is not one of ours."""
    if MANIFEST not in there:
        return set()
    path = api.hf_hub_download(to.repo, MANIFEST, revision=to.revision)
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return set()
    files = told.get("files") if isinstance(told, dict) and "alignkit_version" in told else None
    return set(files) if isinstance(files, dict) else set()


def _operations(
    folder: Path, here: list[str], there: list[str], before: set[str]
) -> Iterator[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    for name in here:
        yield CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
    own = {*OWN_FOLDERS, *(PurePosixPath(name).parts[0] for name in here if "/" in name)}
    for name in there:
        if name not in here and (name in before or PurePosixPath(name).parts[0] in own):
            yield CommitOperationDelete(path_in_repo=name)
