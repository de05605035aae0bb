"""The header of a shard: which model made the vectors, their width and their type."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from alignkit.cache.keys import identity_digest

FORMAT = 1
# a checksum also holds for what somebody else wrote, so each field is checked
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "identity": lambda value: isinstance(value, dict),
    "dim": lambda value: type(value) is int and 0 < value < 2**24,
    "dtype": lambda value: value in ("float16", "float32"),
    "provenance": lambda value: isinstance(value, dict),
    "created": lambda value: isinstance(value, str),
    "canaries": lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
}


@dataclass(frozen=True)
class ShardHeader:
    """What a cache remembers of the model behind a shard.

    Attributes:
        identity: of the embedder, for one role.
        dtype: "float16" or "float32".
        provenance: what the embedder said of its server when the shard was begun.
        created: UTC, ISO 8601.
        canaries: a few texts whose vectors stand in the shard; a changed server is asked for them again.
    """

    identity: dict[str, Any]
    dim: int
    dtype: str
    provenance: dict[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    canaries: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> bytes:
        """Hash of the identity."""
        return identity_digest(self.identity)

    @property
    def is_of_its_width(self) -> bool:
        """False for vectors of another width than was asked for, which older versions stored unchecked."""
        return self.identity.get("dimensions") in (None, self.dim)

    def to_json(self) -> str:
        """With a checksum over all the rest."""
        content = {"format": FORMAT, **asdict(self)}
        return json.dumps({**content, "checksum": _checksum(content)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ShardHeader:
        """The inverse of `to_json`.

        Raises:
            ValueError: if the text is damaged, of a newer format, or holds values that are not valid.
        """
        try:
            content = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(content, dict) or content.pop("checksum", None) != _checksum(content):
            raise ValueError("its checksum does not hold")
        if content.pop("format", None) != FORMAT:
            raise ValueError("it is of a newer format; update alignkit")
        for name, fits in _FITS.items():
            if not fits(content.get(name)):
                raise ValueError(f"its {name} is not valid")
        if unknown := content.keys() - _FITS.keys():
            raise ValueError(f"it has no field {min(unknown)}")
        return cls(**{**content, "canaries": tuple(content["canaries"])})


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode("ascii"))
