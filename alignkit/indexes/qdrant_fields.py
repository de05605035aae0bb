"""Fields of Qdrant's payload by the names that users have for them, as the paths that Qdrant takes."""

from __future__ import annotations

import re
from collections.abc import Collection

from alignkit.errors import DataError

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def json_path(name: str, whole: Collection[str] = ()) -> str:
    """The path of a field, `a.b` for `b` inside `a`.

    Args:
        name: of the field.
        whole: names that are those of fields as they are, dots included.

    Raises:
        DataError: if no path can name it.

    >>> json_path("my text.b"), json_path("a.b"), json_path("a.b", ["a.b"])
    ('"my text".b', 'a.b', '"a.b"')
    """
    if '"' in name:
        raise DataError(f"field '{name}': Qdrant has no path to a field with a quotation mark in its name")
    parts = [name] if name in whole else name.split(".")
    return ".".join(part if _PLAIN.fullmatch(part) else f'"{part}"' for part in parts)


def wanted_fields(names: list[str]) -> list[str] | bool:
    """What to ask for so that these fields are in the answer, whether a dot is in the name or leads inside.

    Returns:
        Paths; `True` asks for everything, where a name has no path.
    """
    if any('"' in name for name in names):
        return True
    return [path for name in names for path in dict.fromkeys((json_path(name), json_path(name, [name])))]
