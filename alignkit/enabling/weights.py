"""Finds the file of an Ollama model on this machine, and says what to do if it cannot be read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.filesize import decimal

from alignkit.enabling.ollama_server import OllamaServer
from alignkit.errors import ConfigError, DataError
from alignkit.gguf_files.header import read_header

WINDOWS_PATH = re.compile(r"^([A-Za-z]):[\\/](.*)$")
# disk space left free in addition to the copy
RESERVE_BYTES = 200_000_000


def file_of_model(model: str, paths: Sequence[str], server: OllamaServer, command: str) -> Path:
    """The file of a model's weights.

    Args:
        model: its name, for messages.
        paths: on the server.
        server: for messages.
        command: the user's command, for messages.

    Raises:
        ConfigError: if it is not on this machine or not readable; the message says what to do.
        DataError: if there is no language model among the files, or several.
    """
    if not paths:
        raise ConfigError(
            f"{server.where} names no file of {model}; give the model's GGUF file yourself: {command} gguf=FILE"
        )
    found = []
    for path in paths:
        try:
            here = _here(path)
            if read_header(here).is_language_model:
                found.append(here)
        except OSError as error:
            raise _unreadable(model, path, error, server, command) from None
    if len(found) != 1:
        raise DataError(
            f"{model} has {len(found)} files with a language model in them, expected one; join them into one GGUF file "
            f"(`llama-gguf-split --merge`) and give it: {command} gguf=FILE"
        )
    return found[0]


def check_space(folder: Path, needed: int) -> None:
    """Check that there is room for the copy where the server keeps its files.

    Raises:
        ConfigError: if there is not. A folder that is not on this machine is not checked.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed + RESERVE_BYTES:
        raise ConfigError(
            f"{folder} has {decimal(free)} free, the copy takes {decimal(needed)}; free some space "
            "(`ollama list` shows what is there, `ollama rm NAME` removes a model)"
        )


def _here(path: str) -> Path:
    r"""The path on this machine: Ollama on Windows, asked from inside WSL, reports `C:\...`."""
    found = WINDOWS_PATH.match(path)
    if found and os.name != "nt":
        return Path("/mnt", found[1].lower(), *re.split(r"[\\/]+", found[2]))
    return Path(path)


def _unreadable(model: str, path: str, error: OSError, server: OllamaServer, command: str) -> ConfigError:
    if isinstance(error, PermissionError):
        what = f"{path}, the file of {model}, may not be read by you: it belongs to the user that Ollama runs as"
        if os.name == "nt":
            return ConfigError(f"{what}; run the same command in a terminal of that user or of an administrator")
        as_root = command.replace("python", f"sudo {shlex.quote(sys.executable)}", 1)
        return ConfigError(f"{what}; run: {as_root}")
    copied = re.sub(r"[^\w.-]", "-", model) + ".gguf"
    if not server.is_local:
        return ConfigError(
            f"{server.where} is another machine, which keeps the file of {model} at {path}; run there: "
            f"{re.sub(' base_url=[^ ]+', '', command)} (or copy the file here: {command} gguf={copied})"
        )
    return ConfigError(
        f"{path}, the file of {model}, is not here ({error.strerror}): the server runs in a container or another "
        f"system. Copy the file out, with Docker by `docker cp CONTAINER:{path} {copied}`, then run: "
        f"{command} gguf={copied}"
    )
