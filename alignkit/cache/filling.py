"""Embedding what is missing: each text once, whatever is stored checked first, nothing committed sent again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout

from alignkit.cache import quarantine
from alignkit.cache.blame import check_blame
from alignkit.cache.canaries import compare_canaries
from alignkit.cache.checked import checked_batches
from alignkit.cache.cut_texts import add_cut
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.watching import Watch
from alignkit.cache.writing import IdentityWriter
from alignkit.embedders.base import EmbeddedBatch, Embedder, Role, context_of, session_of
from alignkit.errors import EmbedderError

if TYPE_CHECKING:
    from alignkit.cache.vector_cache import VectorCache

log = logging.getLogger(__name__)

POLL_S = 2.0


@dataclass
class FillReport:
    """What a fill did.

    Attributes:
        new: distinct texts that were embedded and stored.
        cached: distinct texts that had a vector before.
        quarantined: text -> why the model gave no vector, now or when it was asked before.
        cut: distinct texts among the new that are longer than the model's context.
        context: most tokens that it reads of a text, where some were cut and it is known.
        tried: distinct texts that the embedder was asked for.
        seconds: wall clock, all in all.
        first_batch_s: until the first batch was there (a server loads the model in this time); None without one.
    """

    new: int = 0
    cached: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    context: int | None = None
    tried: int = 0
    seconds: float = 0.0
    first_batch_s: float | None = None


def fill(
    cache: VectorCache,
    embedder: Embedder,
    texts: Sequence[str],
    role: Role = "document",
    on_batch: Callable[[int], None] | None = None,
    retry_quarantined: bool = False,
) -> FillReport:
    """Embed the texts that have no vector yet; interrupted at any point, it goes on where it was.

    Args:
        cache: where vectors go.
        embedder: asked for nothing if all texts have a vector.
        texts: repetitions count once.
        role: whose prompt.
        on_batch: called with the number of distinct texts that are done, first with those that need nothing.
        retry_quarantined: ask again for texts that the model could not embed before.

    Raises:
        EmbedderError: if the model cannot be asked, or gives what is no vector of its texts.
        CacheError: if the disk refuses, or a changed server embeds known texts unlike before.
    """
    started = time.perf_counter()
    told = on_batch or (lambda count: None)
    unique = list(dict.fromkeys(texts))
    identity = cache.identity_of(embedder, role)
    cache.note(embedder.settings(role), identity)
    missing = cache.missing(identity, unique)
    report = FillReport(cached=len(unique) - len(missing))
    if not retry_quarantined:
        known = cache.quarantined(identity, [unique[position] for position in missing])
        report.quarantined = {unique[missing[place]]: reason for place, reason in known.items()}
        missing = np.delete(missing, list(known))
    told(report.cached + len(report.quarantined))
    if len(missing):
        wanted = [unique[position] for position in missing]
        keys = text_keys(identity_digest(identity), wanted)
        del unique
        for batch in embed_missing(cache, embedder, role, identity, wanted, keys):
            if report.first_batch_s is None:
                report.first_batch_s = time.perf_counter() - started
            report.new += len(batch.indices)
            report.tried += len(batch.indices) + len(batch.failures)
            report.quarantined |= {wanted[position]: reason for position, reason in batch.failures.items()}
            report.cut += len(batch.cut)
            told(len(batch.indices) + len(batch.failures))
        report.cached += len(wanted) - report.tried  # another process was faster
        told(len(wanted) - report.tried)
    if report.cut:
        report.context = context_of(embedder)
    report.seconds = time.perf_counter() - started
    return report


def embed_missing(
    cache: VectorCache,
    embedder: Embedder,
    role: Role,
    identity: Mapping[str, Any],
    texts: Sequence[str],
    keys: np.ndarray,
) -> Iterator[EmbeddedBatch]:
    """Embed and store distinct texts; yield each batch once it is stored, its vectors in the type they are stored in.

    What another process did meanwhile is left out.

    Args:
        cache: where vectors go.
        embedder: asked now, so its server must answer.
        role: whose prompt.
        identity: that `keys` were made with.
        texts: N distinct texts.
        keys: `(N,)` of dtype `KEY`.

    Raises:
        EmbedderError, CacheError: see `fill`.
    """
    cache.store.require_writable(f"embed the {len(texts)} texts that have no vector yet")
    digest = identity_digest(identity)
    if not any(identity == known for known in cache.same(embedder.identity(role))):
        raise EmbedderError("the model behind the server changed while the cache was being read; run it again")
    with _alone(cache, digest, keys) as positions:
        if not len(positions):
            return
        wanted = texts if len(positions) == len(texts) else [texts[position] for position in positions]
        watch = Watch(embedder, role, wanted)
        writer = _writer(cache, embedder, role, identity, digest)
        known = cache.headers(identity)
        failures: dict[int, str] = {}
        were_cut: list[int] = []

        def store(batch: EmbeddedBatch) -> EmbeddedBatch:
            here = positions[batch.indices]
            stored = writer.append(keys[here], batch.vectors, [texts[position] for position in here.tolist()])
            failed = {int(positions[position]): reason for position, reason in batch.failures.items()}
            failures.update(failed)
            cut = frozenset(int(positions[position]) for position in batch.cut)
            were_cut.extend(cut)
            return EmbeddedBatch(here, stored, failed, cut)

        try:
            for batch in checked_batches(embedder, wanted, role, known[-1].dim if known else None):
                check_blame(embedder, role, batch, wanted)
                for sure in watch.admit(batch):
                    yield store(sure)
            for sure in watch.end():
                yield store(sure)
        finally:
            try:
                for sure in watch.close():
                    store(sure)
                writer.pause()
            finally:
                _note_quarantine(cache, digest, keys, failures)
                if were_cut:
                    add_cut(cache.folder, digest, keys[were_cut])


@contextmanager
def _alone(cache: VectorCache, digest: bytes, keys: np.ndarray) -> Iterator[np.ndarray]:
    """Positions that still lack a vector once no other process embeds with this identity."""
    lock = cache.store.lock(digest.hex())
    try:
        lock.acquire(timeout=0)
        positions = cache.store.lacking(digest, keys)
    except Timeout:
        log.warning("another process is embedding with this model into %s; waiting for it", cache.folder)
        positions = cache.store.lacking(digest, keys)
        while not lock.is_locked and len(positions):
            with suppress(Timeout):
                lock.acquire(timeout=POLL_S)
                cache.store.take_in()  # should the other have been killed, its last rows are on disk
            positions = cache.store.lacking(digest, keys)
    try:
        yield positions
    finally:
        lock.release()


def _writer(
    cache: VectorCache, embedder: Embedder, role: Role, identity: Mapping[str, Any], digest: bytes
) -> IdentityWriter:
    with cache.lock:
        writer = cache.writers.get(digest)
        if writer is None or session_of(embedder) is not None:
            provenance = {**embedder.provenance(), "context": context_of(embedder)}
            compare_canaries(cache, embedder, role, identity, provenance)
        if writer is None:
            writer = IdentityWriter(cache.store.shard_folder, cache.store.index, identity, provenance, cache.dtype)
            cache.writers[digest] = writer
        writer.resume()
        return writer


def _note_quarantine(cache: VectorCache, digest: bytes, keys: np.ndarray, failures: Mapping[int, str]) -> None:
    """Bring the list up to date: what was asked for just now either failed again, or is off it."""
    entries = quarantine.read_quarantine(cache.folder, digest)
    if not entries and not failures:
        return
    failed = set(failures)
    names = quarantine.hex_keys(keys)
    left = dict(entries)
    located = cache.store.locate(keys) >= 0
    for position, name in enumerate(names):
        if position in failed:
            left[name] = failures[position]
        elif located[position]:
            left.pop(name, None)
    if left != entries:
        quarantine.write_quarantine(cache.folder, digest, left)
