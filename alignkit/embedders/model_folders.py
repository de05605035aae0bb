"""Where a model's files are: in a given folder, or under a name on the Hugging Face hub."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from alignkit.embedders.base import Role
from alignkit.errors import EmbedderError
from alignkit.hub.fetching import model_path
from alignkit.hub.hub_address import is_hub_address, parse_address
from alignkit.servers.untrusted_words import one_line

HUB_TIMEOUT_S = 10.0
EXPECTED = "expected a model's folder, or a name on the Hugging Face hub such as sentence-transformers/all-MiniLM-L6-v2"
# sentence-transformers' settings of a whole model
SETTINGS = "config_sentence_transformers.json"
# among these settings: the rows of a token table were fitted to texts, or trained on them
FITTED = "fitted_to_texts"
# names under which models store their own prompts, in sentence-transformers' order
_PROMPT_NAMES: dict[Role, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


def local_folder(model: str) -> Path | None:
    """The folder that a name refers to; None for a name on the hub.

    Raises:
        EmbedderError: if it refers to a folder that does not exist.
    """
    shown = f"model='{one_line(model, 100)}'"
    if not model.strip():
        raise EmbedderError(f"{shown} is empty; {EXPECTED}")
    try:
        folder = model_path(model)
        if folder.is_dir():
            return folder
        is_file = folder.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, the home of an unknown user
        raise EmbedderError(f"{shown}: {one_line(error, 100)}; {EXPECTED}") from None
    if is_file:
        raise EmbedderError(f"{shown} is a file; {EXPECTED}")
    if not _can_be_on_the_hub(model):
        here = "" if folder.is_absolute() else f" (looked for it in {Path.cwd()})"
        raise EmbedderError(f"there is no folder '{one_line(model, 100)}'{here}; {EXPECTED}")
    return None


def model_folder(model: str) -> Path | None:
    """The local folder of a model, possibly in the hub's cache; None if it is not on this machine yet.

    Raises:
        EmbedderError: if it refers to a folder that does not exist.
    """
    folder = local_folder(model)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def name_of(model: str) -> str:
    """The last component of a folder's path; a name on the hub unchanged, also out of an address there."""
    if is_hub_address(model):
        return parse_address(model).repo
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        folder = Path(model).expanduser()
        if folder.is_dir():
            return folder.name or folder.resolve().name
    return model


def own_prompt(folder: Path, role: Role) -> str:
    """The prompt that a model's folder gives for texts of a role; "" if it gives none."""
    own = _settings(folder).get("prompts") or {}
    return str(next((own[name] for name in _PROMPT_NAMES[role] if own.get(name)), ""))


def is_fitted(folder: Path) -> bool:
    """Whether a token table says that its rows were fitted to texts, or trained on them."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # who needs the settings says that they are damaged
        return _settings(folder).get(FITTED) is True
    return False


def note_fitted(folder: Path) -> None:
    """Make a token table say so."""
    text = json.dumps({**_settings(folder), FITTED: True}, indent=2, ensure_ascii=False) + "\n"
    (folder / SETTINGS).write_text(text, encoding="utf-8")


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def check_on_hub(model: str) -> None:
    """Ask the hub once whether it has a model; its libraries would ask for each file, repeatedly.

    Raises:
        EmbedderError: if it has no such model, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    missing = f"there is no folder '{model}', and"
    try:
        HfApi().model_info(model, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise EmbedderError(
            f"{missing} the Hugging Face hub has no such model (or a private one: set HF_TOKEN)"
        ) from None
    except OfflineModeIsEnabled:
        raise EmbedderError(
            f"{missing} the Hugging Face hub's cache on this machine has no such model; HF_HUB_OFFLINE forbids to "
            "download it"
        ) from None
    except Exception as error:  # from httpx or requests, depending on the version
        raise EmbedderError(
            f"{missing} the Hugging Face hub cannot be asked for it: {one_line(error, 150)}; download the model on "
            "another machine and give its folder"
        ) from None


def _can_be_on_the_hub(name: str) -> bool:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
