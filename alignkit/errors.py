"""Every error that alignkit raises on purpose.

    AlignkitError
    ├── ConfigError         an argument or a combination of arguments is wrong
    ├── DataError           a file of sentences or vectors is wrong
    ├── EmbedderError       a model or its server gave no usable vector
    ├── CacheError          the vector cache is damaged, locked or lacks what was asked for
    ├── EngineError         the engine behind an index cannot be reached, or refuses
    ├── HubError            the Hugging Face Hub cannot be reached, or refuses
    ├── ArtifactError       a head on disk is damaged, tampered with, or does not fit
    └── MissingExtraError   an optional dependency is not installed, or cannot be imported

A message is one line: what, expected, got, the fix. Commands print it and exit with 1.
"""

from __future__ import annotations


class AlignkitError(Exception):
    """Root of the tree; a command shows its message as one line, without a traceback."""


class ConfigError(AlignkitError):
    """An argument is wrong, or two do not go together."""


class DataError(AlignkitError):
    """Sentences or vectors that were handed in cannot be used."""


class EmbedderError(AlignkitError):
    """A model, or the server in front of it, gave no usable vector."""


class CacheError(AlignkitError):
    """The vector cache is damaged, in use, or lacks what was asked for."""


class EngineError(AlignkitError):
    """The engine that holds an index cannot be reached, or refuses what was asked."""


class HubError(AlignkitError):
    """The Hugging Face Hub cannot be reached, has no such repository, or refuses what was asked."""


class ArtifactError(AlignkitError):
    """A saved head is damaged, was changed by hand, is too new, or does not fit."""


class MissingExtraError(AlignkitError):
    """An optional dependency is missing."""

    def __init__(self, package: str, extra: str, reason: str = "") -> None:
        if reason:
            super().__init__(
                f'{package} cannot be imported ({reason}); install it with: pip install "alignkit[{extra}]"'
            )
        else:
            super().__init__(f'{package} is not installed; install it with: pip install "alignkit[{extra}]"')
