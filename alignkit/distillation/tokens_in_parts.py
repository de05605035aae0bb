"""Texts tokenised by several workers, each some parts of them; what the student gets is the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alignkit.distillation.tokens import IdsOf, Tokens, packed
from alignkit.errors import DataError
from alignkit.files import appearing, refused, write_whole
from alignkit.workers.base import Do, Engine, Part, Result, Work
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run

# fewer texts are tokenised in this process, in less time than a worker needs to start
MANY = 100_000
# parts for each worker, so that the last is not waited for long, and the most texts in one
PARTS, MOST = 4, 65_536


@dataclass
class TokenizeTexts(Work):
    """Tokenises the texts of a part.

    Attributes:
        ids_of: gives the ids of each text; pickled with its tokenizer.
        folder: of the parts, on a disk that all workers share.
    """

    ids_of: IdsOf = field(repr=False)
    folder: Path
    name = "tokenise"
    unit = "texts"

    def open(self) -> Do:
        """See `Work`."""
        return self._do

    def output(self, part: Part) -> Path:
        """See `Work`."""
        return self.folder / f"{part.number:06}.npz"

    def _do(self, part: Part) -> Result:
        try:
            texts = json.loads((self.folder / f"{part.number:06}.json").read_bytes())
        except FileNotFoundError:
            raise DataError(
                f"{self.folder}: this worker cannot see it; the run folder must lie on a disk that all workers share"
            ) from None
        found = list(packed(texts, self.ids_of))
        with appearing(self.output(part)) as unfinished, unfinished.open("wb") as file:
            np.savez(
                file, ids=np.concatenate([ids for ids, _ in found]), lengths=np.concatenate([one for _, one in found])
            )
        return {}


@dataclass(frozen=True)
class TokensInParts:
    """As `Tokens.of`, by workers where there are many texts.

    Attributes:
        engine: who does it.
        folder: of the run, on a disk that the workers share; a folder in it is made and goes again.
        on_progress: called as parts are done.
    """

    engine: Engine
    folder: Path
    on_progress: Callable[[Progress], None] = lambda progress: None

    def __call__(self, texts: Sequence[str], ids_of: IdsOf) -> Tokens:
        """See `Tokens.of`.

        Raises:
            AlignkitError: if a part failed, or its files do not fit on the disk.
        """
        if len(texts) < MANY:
            return Tokens.of(texts, ids_of)
        folder = self.folder.absolute() / f"tokens-{os.getpid()}"  # of each process that trains
        shutil.rmtree(folder, ignore_errors=True)
        try:
            manifest = Manifest.open(folder, {"command": "tokenise"}, lambda: self._cut(texts, folder))
            work = TokenizeTexts(ids_of, folder)
            run(work, manifest, self.engine, self.on_progress).expect_whole(manifest.parts)
            return Tokens.joined(_read(work.output(part)) for part in manifest.parts)
        except OSError as error:
            raise refused(folder, error) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _cut(self, texts: Sequence[str], folder: Path) -> Iterator[Part]:
        rows = min(MOST, -(-len(texts) // (PARTS * self.engine.workers)))
        for number, first in enumerate(range(0, len(texts), rows)):
            part = [texts[row] for row in range(first, min(first + rows, len(texts)))]
            write_whole(folder / f"{number:06}.json", json.dumps(part))
            yield Part(number, {"first": first, "texts": len(part)}, len(part))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return found["ids"], found["lengths"]
