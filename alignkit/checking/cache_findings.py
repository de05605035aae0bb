"""What the vector cache holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alignkit.checking.findings import Finding, failure, ok, warning
from alignkit.errors import AlignkitError


def check_cache(folder: str | Path) -> Iterator[Finding]:
    """One line for each model in the cache, which is only read."""
    try:
        there = (Path(folder).expanduser() / "shards").is_dir()
    except OSError as error:
        yield failure("cache", f"{folder} cannot be read: {error.strerror or error}", "choose another cache_dir")
        return
    if not there:
        yield ok("cache", f"none yet at {folder}; python -m alignkit.embed makes it")
        return
    from alignkit.cache import VectorCache

    try:
        with VectorCache(folder, only_read=True) as cache:
            known = cache.identities()
    except AlignkitError as error:
        yield failure("cache", error)
        return
    yield ok("cache", f"{folder} holds vectors of {len(known)} models and prompts" if known else f"{folder} is empty")
    for entry in known:
        model = entry.identity.get("model")
        message = f"{model}: {entry.rows:,} vectors, {entry.dim}-d, {entry.bytes / 1e6:,.1f} MB"
        if entry.quarantined:
            fix = "python -m alignkit.embed with their sentences says why; retry_quarantined=true tries them again"
            yield warning("cache", f"{message}, {entry.quarantined:,} texts quarantined", fix)
        else:
            yield ok("cache", message)
