"""Keys and passwords: they stay in environment variables, settings name those, and nothing shows them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignkit.errors import ConfigError

STARS = "***"
# names of settings that hold a key itself, not the name of a variable
SECRET_NAME = re.compile(r"(?i)(api[_-]?key|token|passw(or)?d|secret|authorization|bearer)$")
_URL_PASSWORD = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)([^/@\s]+)@")
_URL_KEY = re.compile(
    r"(?i)([?&](?:api[_-]?key|key|(?:access_?)?token|password|secret|sig|signature|code)=)[^&\s#*]{6,}"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+(?=[\w.+/=-]*\d)[\w.+/=-]{12,}")
_ASSIGNED = re.compile(
    r"(?i)(api[_-]?key|token|passw(or)?d|secret|authorization)[\"']?\s*:\s*[\"']?(?!null\b|none\b)[^\s\"'},]"
)
_CANDIDATE = re.compile(r"[A-Za-z0-9_-]{10,}")
_KEY_PREFIX = re.compile(
    r"(sk|pk|rk|hf|gsk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|nvapi|pplx|xai|jina|r8|tvly|lsv2)[-_](.+)"
)
_CLOUD_KEY = re.compile(r"AIza[\w-]{20,}|(AKIA|ASIA)[A-Z0-9]{16}|eyJ[\w-]{10,}")
_SEGMENT_OF_KEY = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{8,}")
_LONG_RUN = re.compile(r"(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])(?=[A-Za-z]*\d)[A-Za-z0-9]{32,}")
# in capitals too: no part of a variable's name mixes letters and digits at such length
_LONG_MIXTURE = re.compile(r"(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{16,}")
_LONGEST_WORDS = 20
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USUAL_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def looks_like_key(text: str) -> bool:
    """Whether a text holds what services give out as keys; names of models, files and digests do not count.

    >>> looks_like_key("sk-proj-a1b2c3d4e5f6"), looks_like_key("sk-learn-2024.txt"), looks_like_key("minilm")
    (True, False, False)
    """
    return _without_keys(text) != text or (text.startswith("{") and bool(_ASSIGNED.search(text)))


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """A text fit for screens, logs and files: keys, passwords in URLs and the given secrets are starred out.

    >>> redacted("POST http://me:pw@host/v1 with Bearer abcdef123456")
    'POST http://***@host/v1 with Bearer ***'
    """
    for secret in secrets:
        if len(secret) > 3:  # shorter ones would star out ordinary words
            text = text.replace(secret, STARS)
    return _without_keys(_URL_PASSWORD.sub(rf"\1{STARS}@", text))


def without_secrets(settings: Any) -> Any:
    """A copy of nested settings fit for files and logs.

    >>> without_secrets({"api_key": "x", "api_key_env": "KEY", "base_url": "http://me:pw@127.0.0.1/v1"})
    {'api_key': '***', 'api_key_env': 'KEY', 'base_url': 'http://***@127.0.0.1/v1'}
    """
    if isinstance(settings, dict):
        return {
            key: STARS if value and SECRET_NAME.search(str(key)) else without_secrets(value)
            for key, value in settings.items()
        }
    if isinstance(settings, list | tuple):
        return [without_secrets(value) for value in settings]
    return redacted(settings) if isinstance(settings, str) else settings


def check_variable_name(setting: str, variable: str) -> None:
    """Refuse a key where the name of its variable belongs; the message does not repeat it.

    Raises:
        ConfigError: if it cannot be the name of an environment variable, or looks like a key.
    """
    if os.environ.get(variable):
        return
    if not _USUAL_VARIABLE.fullmatch(variable) or _is_key(variable) or _LONG_MIXTURE.search(variable):
        known = "no such variable is set" if _VARIABLE.fullmatch(variable) else "this cannot be one"
        raise ConfigError(
            f"{setting}: expected the name of an environment variable, and {known} (what was given is not shown: it "
            f"may be the key itself); put the key into a variable, MY_KEY for instance, and give {setting}=MY_KEY"
        )


def from_environment(setting: str, variable: str) -> str:
    """The key that an environment variable holds.

    Raises:
        ConfigError: if it is not set or empty; the message shows the name only where it is surely none.
    """
    check_variable_name(setting, variable)
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"{setting}={variable}: this environment variable is not set; set it to the key")
    return key


def _without_keys(text: str) -> str:
    text = _URL_KEY.sub(rf"\1{STARS}", text)
    text = _BEARER.sub(rf"\1 {STARS}", text)
    return _CANDIDATE.sub(lambda found: STARS if _is_key(found[0]) else found[0], text)


def _is_key(word: str) -> bool:
    word = word.strip("-_")
    if _CLOUD_KEY.fullmatch(word) or _LONG_RUN.search(word):
        return True
    if not (found := _KEY_PREFIX.fullmatch(word)):
        return False
    # a name of words is short, or has no part that mixes letters and digits
    body = found[2]
    return any(_SEGMENT_OF_KEY.fullmatch(part) for part in re.split("[-_]", body)) or (
        found[1] == "sk" and len(body) > _LONGEST_WORDS
    )


def is_there(value: str) -> bool:
    """Whether a value names a file or a folder that exists: then it is a name, whatever it looks like."""
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
