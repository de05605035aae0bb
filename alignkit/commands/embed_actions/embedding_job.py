"""Embed sentences into a vector cache and, where that is asked for, save the vectors and put them through a head."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

from alignkit.artifact import Artifact
from alignkit.cache import FillReport, KeyedTexts, VectorCache
from alignkit.cache.keys import identity_digest
from alignkit.cache.saving import save_vectors, saving_to
from alignkit.cache.watching import ModelChangedError
from alignkit.cache.wording import summary
from alignkit.commands.embed_actions.filling_in_parts import InParts
from alignkit.commands.embed_actions.saying import say
from alignkit.embedders.base import ROLES, Embedder, Role
from alignkit.errors import AlignkitError, EmbedderError
from alignkit.head_models import check_identities, check_student
from alignkit.migration.moving import migrate
from alignkit.progress import progress
from alignkit.sentences.records import Sentence
from alignkit.workers.running import Progress

logger = logging.getLogger("alignkit.embed")

ALIGNED = "aligned.npy"


@dataclass(frozen=True)
class Embedding:
    """What is to be embedded, and where it goes.

    Attributes:
        cache_dir: folder of the vector cache.
        dtype: of new vectors.
        sentences: whose texts are embedded.
        role: whose prompt; with a head, the role that the head is applied for.
        retry_quarantined: ask again for texts that the model could not embed before.
        save_to: folder for the vectors as files; `None` leaves them in the cache.
        head: put the student's vectors through it; needs `save_to`.
        allow_student_mismatch: go on with a student that the head was not trained with.
    """

    cache_dir: str
    dtype: str
    sentences: list[Sentence]
    role: Role
    retry_quarantined: bool
    save_to: Path | None
    head: Artifact | None
    allow_student_mismatch: bool

    @functools.cached_property
    def texts(self) -> KeyedTexts:
        """Of the sentences, each hashed once."""
        return KeyedTexts([sentence.text for sentence in self.sentences])

    def opened_cache(self) -> VectorCache:
        """The cache, made where there is none."""
        return VectorCache(self.cache_dir, self.dtype)

    def embed(self, cache: VectorCache, side: str, embedder: Embedder, workers: InParts | None = None) -> None:
        """Embed what the cache lacks of one side, here or by workers, save what is asked for, and say both."""
        role = self.role if self.head is None else self._role_of_student(cache, embedder, self.head)
        report = self._fill(cache, side, embedder, role, workers)
        for line in summary(f"{side} {embedder.settings(role).get('model', '')}".rstrip(), report):
            say(line)
        if self.save_to is None:
            return
        with saving_to(cache, self.save_to) as unfinished:
            identity = cache.identity_of(embedder, role)
            rows = save_vectors(cache, identity, self.sentences, unfinished, side, self.texts)
            dim = None if self.head is None else self._align(unfinished, self.head)
        say(f"{self.save_to / f'{side}.npy'}: {rows:,} rows; {side}_index.json says which is whose")
        if dim is not None:
            say(f"{self.save_to / ALIGNED}: the same rows in the teacher's space, {dim} dimensions")

    def _role_of_student(self, cache: VectorCache, student: Embedder, head: Artifact) -> Role:
        """Whose prompt the head knows, of this very student; from the cache's memory while its server is off."""
        try:
            return check_student(head, student, self.allow_student_mismatch)
        except EmbedderError:
            found = {role: cache.remembered(student.settings(role)) for role in ROLES}
            known = {role: identity for role, identity in found.items() if identity is not None}
            if not known:
                raise
            dim = cache.store.headers(identity_digest(next(iter(known.values()))))[-1].dim
            return check_identities(head, dim, known, self.allow_student_mismatch)

    def _align(self, folder: Path, head: Artifact) -> int:
        """Put the student's vectors of a folder through the head, row by row; returns the width of what it gives."""
        return int(migrate(folder / "student.npy", head, folder / ALIGNED, role=self.role)["dim"])

    def _fill(
        self, cache: VectorCache, side: str, embedder: Embedder, role: Role, workers: InParts | None
    ) -> FillReport:
        total = len(self.texts.firsts())
        stored = 0
        with progress(side, "texts") as counted:

            def on_batch(count: int) -> None:
                nonlocal stored
                if counted.total is None:  # what was cached says nothing about the speed
                    counted.begin(total - count)
                else:
                    counted.advance(count)
                    stored += count

            def on_progress(now: Progress, known: int) -> None:
                nonlocal stored
                if counted.total is None:
                    counted.begin(total - known)
                counted.note, stored = now.note(), now.done
                counted.advance(now.done - counted.done)

            try:
                if workers is not None:
                    return workers.fill(embedder, self.texts, role, on_progress, self.retry_quarantined)
                return cache.fill(embedder, self.texts, role, on_batch, self.retry_quarantined)
            except (KeyboardInterrupt, AlignkitError) as error:
                if stored and not isinstance(error, ModelChangedError):
                    logger.warning("%s: %d texts are done and kept; the same command goes on from there", side, stored)
                raise
