"""A large search by several workers: each finds the nearest rows in a part of the corpus, and the best of all are kept.

Workers score their hits in float64, as `neighbours.top_k` scores those that are near each other, so that the rows and
their order are the same as in one process.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.corpus_blocks import as_tensor, pair_cosines
from alignkit.errors import DataError
from alignkit.evaluation.aligning import align
from alignkit.evaluation.rankings import AlignedRows
from alignkit.files import appearing, refused
from alignkit.heads.base import Head
from alignkit.vectors import top_k
from alignkit.workers.base import Do, Engine, Part, Result, Work
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run

# products of two numbers, below which sending rows to workers takes longer than the search
LARGE = 10**12
# parts for each worker, so that the last is not waited for long, and the most bytes of rows in one
PARTS, MOST_BYTES = 4, 256 * 1024 * 1024


@dataclass
class SearchRows(Work):
    """Finds the nearest rows in a part of the corpus.

    Attributes:
        folder: of the queries and the parts, on a disk that all workers share.
        k: hits of a query.
        head: that the rows go through first; `None` searches them as they are.
    """

    folder: Path
    k: int
    head: Head | None = field(repr=False)
    name = "search"
    unit = "rows"

    def open(self) -> Do:
        """See `Work`."""
        try:
            unit, excluded = (torch.from_numpy(_load(self.folder / name)) for name in ("queries.npy", "excluded.npy"))
        except FileNotFoundError:
            raise DataError(
                f"{self.folder}: this worker cannot see it; the run folder must lie on a disk that all workers share"
            ) from None
        return lambda part: self._do(unit, excluded, part)

    def output(self, part: Part) -> Path:
        """See `Work`."""
        return self.folder / f"{part.number:06}.hits.npy"

    def _do(self, unit: Tensor, excluded: Tensor, part: Part) -> Result:
        first = part.settings["first"]
        corpus: Tensor | np.ndarray = _load(self.folder / f"{part.number:06}.rows.npy")
        if self.head is not None:
            corpus = align(self.head, corpus)
        own = torch.where((excluded >= first) & (excluded < first + len(corpus)), excluded - first, -1)
        rows = top_k(unit, corpus, min(self.k, len(corpus)), exclude=own)[1]
        queries, at = (rows >= 0).nonzero(as_tuple=True)
        scores = torch.full(rows.shape, -torch.inf)
        scores[queries, at] = pair_cosines(unit, corpus, queries, rows[queries, at])
        hits = np.stack([scores.double().numpy(), torch.where(rows >= 0, rows + first, -1).double().numpy()])
        with appearing(self.output(part)) as unfinished, unfinished.open("wb") as file:
            np.save(file, hits)
        return {}


@dataclass(frozen=True)
class SearchInParts:
    """As `neighbours.top_k`, by workers where the search is large.

    Attributes:
        engine: who does it.
        folder: for what the workers read and write, on a disk that they share; emptied again.
        on_progress: called as parts are done.
    """

    engine: Engine
    folder: Path
    on_progress: Callable[[Progress], None] = lambda progress: None

    def __call__(
        self, queries: Tensor | np.ndarray, corpus: Tensor | np.ndarray | AlignedRows, k: int, *,
        exclude: Tensor | np.ndarray,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See `top_k`.

        Raises:
            AlignkitError: if a part failed, or its files do not fit on the disk.
        """
        unit = F.normalize(as_tensor(queries).float().cpu(), dim=-1)
        if len(unit) * len(corpus) * unit.shape[1] < LARGE:
            return top_k(unit, corpus, k, exclude=exclude)  # type: ignore[arg-type]
        head, rows = (corpus.head, corpus.student) if isinstance(corpus, AlignedRows) else (None, corpus)
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.mkdir(parents=True)
            np.save(self.folder / "queries.npy", unit.numpy())
            np.save(self.folder / "excluded.npy", np.asarray(exclude))
            manifest = Manifest.open(self.folder, {"command": "search"}, lambda: self._cut(rows))
            outcome = run(SearchRows(self.folder.absolute(), k, head), manifest, self.engine, self.on_progress)
            outcome.expect_whole(manifest.parts)
            return _best((_load(self.folder / f"{part.number:06}.hits.npy") for part in manifest.parts), k)
        except OSError as error:
            raise refused(self.folder, error) from None
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _cut(self, corpus: Tensor | np.ndarray) -> Iterator[Part]:
        most = max(1, MOST_BYTES // (4 * corpus.shape[1]))
        rows = min(most, -(-len(corpus) // (PARTS * self.engine.workers)))
        for number, first in enumerate(range(0, len(corpus), rows)):
            block = np.asarray(corpus[first : first + rows])
            np.save(self.folder / f"{number:06}.rows.npy", block)
            yield Part(number, {"first": first, "rows": len(block)}, len(block))


def _best(parts: Iterable[np.ndarray], k: int) -> tuple[Tensor, Tensor]:
    """The first k of the parts' hits, each `(2, Q, <= k)`: scores and rows, ties in order of the row."""
    best = np.empty((2, 0, 0))
    for hits in parts:
        together = np.concatenate([best, hits], axis=2) if best.size else hits
        order = np.lexsort((together[1], -together[0]), axis=1)[None, :, :k]
        best = np.take_along_axis(together, order, axis=2)
    scores, rows = torch.from_numpy(best[0]).float(), torch.from_numpy(best[1]).long()
    missing = (0, max(0, k - scores.shape[1]))
    return F.pad(scores, missing, value=-torch.inf), F.pad(rows, missing, value=-1)


def _load(path: Path) -> np.ndarray:
    found: np.ndarray = np.load(path, allow_pickle=False)
    return found
