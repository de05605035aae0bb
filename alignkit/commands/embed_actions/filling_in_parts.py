"""Embed by several workers: each fills small caches of its own, which the cache takes in as they are done."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from alignkit.cache import FillReport, KeyedTexts, VectorCache
from alignkit.commands.embed_actions.embed_texts import TEXTS, EmbedTexts
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import CacheError
from alignkit.files import write_whole
from alignkit.workers.base import Engine, Part
from alignkit.workers.manifest import Manifest
from alignkit.workers.running import Progress, run
from alignkit.workers.variables import named_variables

FOLDER = "parts"
# small parts for few texts, so that all workers have some; large ones for many, as each becomes a shard
FEWEST, MOST, PARTS = 256, 16_384, 16
# embedded by the command itself, which compares the model with what is stored before anybody goes on with it
FIRST = 32


@dataclass(frozen=True)
class InParts:
    """How one side is embedded by workers.

    Attributes:
        cache: that takes it in.
        dtype: of new vectors.
        side: `teacher` or `student`.
        settings: of its model, as workers build it.
        engine: who does it.
    """

    cache: VectorCache
    dtype: str
    side: str
    settings: Mapping[str, Any]
    engine: Engine

    def fill(
        self, embedder: Embedder, texts: KeyedTexts, role: Role, on_progress: Callable[[Progress, int], None],
        retry_quarantined: bool = False,
    ) -> FillReport:  # fmt: skip
        """Embed what is missing; interrupted or killed at any point, what is done is kept.

        Args:
            embedder: the side's model.
            texts: repetitions count once.
            role: whose prompt.
            on_progress: called with how far the parts are, and how many texts needed none.
            retry_quarantined: ask again for texts that the model could not embed before.

        Raises:
            AlignkitError: if a part failed, or the cache cannot be written; what is done is kept.
        """
        started, cache = time.perf_counter(), self.cache
        cache.store.require_writable("embed")
        unique = texts.take(texts.firsts())
        with self._alone() as folder:
            identity = cache.identity_of(embedder, role)
            lacking = cache.missing(identity, unique)
            if not retry_quarantined:
                lacking = np.delete(lacking, list(cache.quarantined(identity, unique.take(lacking))))
            known = len(unique) - len(lacking)
            first = cache.fill(embedder, unique.take(lacking[: self._first(identity)]), role, None, retry_quarantined)
            left = unique.take(lacking[self._first(identity) :])
            results = self._embed(folder, embedder.identity(role), left, role, lambda now: on_progress(now, known))
        report = cache.fill(embedder, unique, role)
        report.new = first.new + sum(one["new"] for one in results)
        report.tried = first.tried + sum(one["tried"] for one in results)
        report.cut = first.cut + sum(one["cut"] for one in results)
        report.cached -= report.new
        report.context = next((one["context"] for one in results if one["context"]), first.context)
        report.seconds = time.perf_counter() - started
        report.first_batch_s = min((one["first_batch_s"] for one in results if one["first_batch_s"]), default=None)
        return report

    def _first(self, identity: Mapping[str, Any]) -> int:
        return FIRST if self.cache.headers(identity) else 0

    def _embed(
        self, folder: Path, identity: Mapping[str, Any], texts: KeyedTexts, role: Role,
        on_progress: Callable[[Progress], None],
    ) -> list[dict[str, Any]]:  # fmt: skip
        if not len(texts):
            return []
        rows = min(MOST, max(FEWEST, -(-len(texts) // (PARTS * self.engine.workers))))

        def cut() -> Iterator[Part]:
            for number, start in enumerate(range(0, len(texts), rows)):
                part = texts[start : start + rows]
                write_whole(folder / f"{number:06}{TEXTS}", json.dumps(part))
                yield Part(number, {"texts": f"{start} to {start + len(part) - 1}"}, len(part))

        manifest = Manifest.open(folder, {"command": "embed"}, cut)
        settings = dict(self.settings)
        work = EmbedTexts(
            self.side, settings, identity, role, self.dtype, folder, Path(os.getcwd()), named_variables(settings)
        )
        taken: set[int] = set()

        def on_part(now: Progress) -> None:
            for number in manifest.done.keys() - taken:
                _take_in_one(self.cache, folder / f"{number:06}")
                taken.add(number)
            on_progress(now)

        try:
            outcome = run(work, manifest, self.engine, on_part)
        finally:
            _take_in(self.cache, folder)
        outcome.expect_whole(manifest.parts)
        return list(outcome.done.values())

    @contextmanager
    def _alone(self) -> Iterator[Path]:
        """The folder of the parts, for one command at a time; texts are in it, so it goes with the command."""
        folder = self.cache.folder.absolute() / FOLDER
        lock = self.cache.store.lock(FOLDER)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CacheError(
                f"another command is embedding in parts into {self.cache.folder}; give this one when it is done"
            ) from None
        try:
            _take_in(self.cache, folder)  # what a killed command left
            shutil.rmtree(folder, ignore_errors=True)
            yield folder
        finally:
            # what could not be taken in, as on a full disk, is for the next command
            if not list(folder.glob("*/shards")):
                shutil.rmtree(folder, ignore_errors=True)
            lock.release()


def _take_in(cache: VectorCache, folder: Path) -> None:
    for path in sorted(folder.glob("*/shards")):
        _take_in_one(cache, path.parent)


def _take_in_one(cache: VectorCache, part: Path) -> None:
    """Also of a part that came to no end: what is in its cache was paid for."""
    if (part / "shards").is_dir():
        cache.merge(part)
        shutil.rmtree(part, ignore_errors=True)
