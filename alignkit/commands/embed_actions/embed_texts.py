"""What a worker does of `embed`: one part's texts, into a small cache of the part's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.sameness import differences
from alignkit.errors import DataError, EmbedderError
from alignkit.parts import build_part
from alignkit.setting_names import settings_under
from alignkit.workers.base import Do, Part, Result, Work
from alignkit.workers.variables import take_over

TEXTS = ".json"


@dataclass
class EmbedTexts(Work):
    """Embeds the texts of a part.

    Its vectors are in a cache from the first batch on, so that a part which is done again by whoever asks for no vector
    twice.

    Attributes:
        side: `teacher` or `student`.
        embedder: settings of its model.
        identity: what the model is where the command was given; a worker with another one is refused.
        role: whose prompt.
        dtype: of the vectors.
        folder: of the parts, on a disk that all workers share.
        home: the command's working folder, for paths among the settings.
        variables: of the environment, which the settings name.
    """

    side: str
    embedder: dict[str, Any] = field(repr=False)
    identity: Mapping[str, Any]
    role: Role
    dtype: str
    folder: Path
    home: Path
    variables: dict[str, str] = field(repr=False)
    name = "embed"
    unit = "texts"

    def open(self) -> Do:
        """See `Work`."""
        take_over(self.variables, self.home)
        with settings_under(self.side):
            return _Embeds(self, build_part(self.embedder))


class _Embeds:
    """The model, loaded."""

    def __init__(self, work: EmbedTexts, embedder: Embedder) -> None:
        self._work, self._embedder, self._checked = work, embedder, False

    def __call__(self, part: Part) -> Result:
        work = self._work
        path = work.folder / f"{part.number:06}{TEXTS}"
        try:
            texts = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise DataError(
                f"{path}: this worker cannot see it; cache_dir= must lie on a disk that all workers share"
            ) from None
        if not self._checked:
            if different := differences(work.identity, self._embedder.identity(work.role)):
                raise EmbedderError(
                    f"this worker's model is another one than the command's ({'; '.join(different)}); install the same"
                )
            self._checked = True
        with VectorCache(path.with_suffix(""), work.dtype) as cache:
            report = cache.fill(self._embedder, texts, work.role)
        return {
            "new": report.new, "tried": report.tried, "cut": report.cut, "context": report.context,
            "first_batch_s": report.first_batch_s,
        }  # fmt: skip

    def close(self) -> None:
        """Let go of the model."""
        self._embedder.close()
