"""What goes wrong with the Hub, in one line that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alignkit.credentials import redacted
from alignkit.errors import AlignkitError, HubError
from alignkit.extras import needing
from alignkit.servers.untrusted_words import one_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_S = 10.0
LOG_IN = "log in with hf auth login, or set HF_TOKEN"
# who raises errors of its own for a network that fails
_NETWORK = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}
_UNAUTHORISED, _FORBIDDEN, _TOO_MANY, _BROKEN = 401, 403, 429, 500


class UnreachableError(HubError):
    """The Hub does not answer now; a copy on this machine may serve."""


def hub_api() -> HfApi:
    """The Hub's own client. It finds the address and the token: `HF_ENDPOINT`, `HF_TOKEN`, a login.

    Raises:
        MissingExtraError: without the package.
    """
    with needing("hub"):
        from huggingface_hub import HfApi

    from alignkit import __version__

    return HfApi(library_name="alignkit", library_version=__version__)


@contextlib.contextmanager
def asked(what: object) -> Iterator[None]:
    """Say in one line what the Hub refuses within the block.

    Args:
        what: is asked for: the beginning of a message.

    Raises:
        HubError: if there is no such repository or revision, or the token has no right to it.
        UnreachableError: if the Hub cannot be reached.
    """
    try:
        yield
    except AlignkitError:
        raise
    except Exception as error:  # from httpx, httpx2 or requests, depending on the version
        if (told := _told(what, error)) is None:
            raise
        raise told from None


def _told(what: object, error: Exception) -> HubError | None:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{what}: the owner lets in who asks; ask on its page on the Hub, then {LOG_IN}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"{what}: no such repository, or a private one that is not open to you; check the name, {LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{what}: the repository has no such revision; give a branch, a tag or a whole commit")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UnreachableError(f"{what}: HF_HUB_OFFLINE forbids to ask the Hub")
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(what, error)
    words = one_line(redacted(str(error)), 150) or type(error).__name__
    if isinstance(error, errors.LocalEntryNotFoundError):
        return UnreachableError(f"{what}: the Hub cannot be reached")
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.split(".")[0] in _NETWORK:
        return UnreachableError(f"{what}: the Hub cannot be reached ({words})")
    return HubError(f"{what}: {words}") if isinstance(error, OSError | ValueError) else None


def _refused(what: object, error: Exception) -> HubError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    words = one_line(redacted(getattr(error, "server_message", None) or str(error)), 150)
    if status == _UNAUTHORISED:
        return HubError(f"{what}: the Hub does not accept the token; {LOG_IN}")
    if status == _FORBIDDEN:
        return HubError(f"{what}: this token has no right to do that ({words}); take one that may write there")
    if status == _TOO_MANY or status >= _BROKEN:
        return UnreachableError(f"{what}: the Hub answers with {status} ({words})")
    return HubError(f"{what}: the Hub refuses with {status} ({words})")
