"""Embedding what is missing: each text once, whatever is stored checked first, nothing committed sent again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from filelock import Timeout

from alignkit.cache import quarantine
from alignkit.cache.blame import check_blame
from alignkit.cache.canaries import compare_canaries
from alignkit.cache.checked import checked_batches
from alignkit.cache.cut_texts import add_cut
from alignkit.cache.fill_report import FillReport
from alignkit.cache.identity_writer import IdentityWriter
from alignkit.cache.index import Version
from alignkit.cache.keyed_texts import KeyedTexts
from alignkit.cache.keys import identity_digest
from alignkit.cache.lookup import Lookup
from alignkit.cache.recognising import identity_of
from alignkit.cache.store import ShardStore
from alignkit.cache.watching import Watch
from alignkit.cache.writers import Writers
from alignkit.embedders.base import EmbeddedBatch, Embedder, Role, context_of, session_of
from alignkit.errors import EmbedderError

log = logging.getLogger(__name__)

POLL_S = 2.0


def fill(
    lookup: Lookup,
    writers: Writers,
    embedder: Embedder,
    texts: Sequence[str],
    role: Role = "document",
    on_batch: Callable[[int], None] | None = None,
    retry_quarantined: bool = False,
) -> FillReport:
    """Embed the texts that have no vector yet; interrupted at any point, it goes on where it was.

    Args:
        lookup: tells what is there.
        writers: store what is new.
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
    asked = KeyedTexts.of(texts)
    unique = asked.take(asked.firsts())
    identity = identity_of(lookup, embedder, role)
    lookup.models.note(embedder.settings(role), identity)
    as_of = lookup.store.index.version()
    missing = lookup.missing(identity, unique)
    report = FillReport(cached=len(unique) - len(missing))
    if not retry_quarantined:
        known = lookup.quarantined(identity, unique.take(missing))
        report.quarantined = {unique[missing[place]]: reason for place, reason in known.items()}
        missing = np.delete(missing, list(known))
    told(report.cached + len(report.quarantined))
    if len(missing):
        wanted = unique.take(missing)
        for batch in embed_missing(lookup, writers, embedder, role, identity, wanted, as_of):
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
    lookup: Lookup,
    writers: Writers,
    embedder: Embedder,
    role: Role,
    identity: Mapping[str, Any],
    texts: KeyedTexts,
    as_of: Version | None = None,
) -> Iterator[EmbeddedBatch]:
    """Embed and store distinct texts; yield each batch once it is stored, its vectors in the type they are stored in.

    What another process did meanwhile is left out.

    Args:
        lookup: tells what is there.
        writers: store what is new.
        embedder: asked now, so its server must answer.
        role: whose prompt.
        identity: that the vectors are filed under.
        texts: N distinct texts.
        as_of: version of the index in which none of them was found; they are not looked up again where it still holds.

    Raises:
        EmbedderError, CacheError: see `fill`.
    """
    store = lookup.store
    store.require_writable(f"embed the {len(texts)} texts that have no vector yet")
    digest = identity_digest(identity)
    if not any(identity == known for known in lookup.models.same(embedder.identity(role))):
        raise EmbedderError("the model behind the server changed while the cache was being read; run it again")
    keys = texts.keys(digest)
    with _alone(store, digest, keys, as_of) as positions:
        if not len(positions):
            return
        wanted = texts.take(positions)[:]
        watch = Watch(embedder, role, wanted)
        writer = _writer(lookup, writers, embedder, role, identity)
        known = lookup.models.headers(identity)
        failures: dict[int, str] = {}
        were_cut: list[int] = []
        have_none = np.zeros(len(keys), dtype=bool)
        have_none[positions] = True

        def keep(batch: EmbeddedBatch) -> EmbeddedBatch:
            here = positions[batch.indices]
            stored = writer.append(keys[here], batch.vectors, [wanted[place] for place in batch.indices.tolist()])
            have_none[here] = False
            failed = {int(positions[position]): reason for position, reason in batch.failures.items()}
            failures.update(failed)
            cut = frozenset(int(positions[position]) for position in batch.cut)
            were_cut.extend(cut)
            return EmbeddedBatch(here, stored, failed, cut)

        try:
            for batch in checked_batches(embedder, wanted, role, known[-1].dim if known else None):
                check_blame(embedder, role, batch, wanted)
                for sure in watch.admit(batch):
                    yield keep(sure)
            for sure in watch.end():
                yield keep(sure)
        finally:
            try:
                for sure in watch.close():
                    keep(sure)
                writer.pause()
            finally:
                _note_quarantine(store, digest, keys, failures, ~have_none)
                if were_cut:
                    add_cut(store.folder, digest, keys[were_cut])


@contextmanager
def _alone(store: ShardStore, digest: bytes, keys: np.ndarray, as_of: Version | None) -> Iterator[np.ndarray]:
    """Positions that still lack a vector once no other process embeds with this identity."""
    lock = store.lock(digest.hex())
    try:
        lock.acquire(timeout=0)
        unchanged = as_of is not None and as_of == store.index.version()
        positions = np.arange(len(keys)) if unchanged else store.lacking(digest, keys)
    except Timeout:
        log.warning("another process is embedding with this model into %s; waiting for it", store.folder)
        positions = store.lacking(digest, keys)
        while not lock.is_locked and len(positions):
            with suppress(Timeout):
                lock.acquire(timeout=POLL_S)
                store.take_in()  # should the other have been killed, its last rows are on disk
            positions = store.lacking(digest, keys)
    try:
        yield positions
    finally:
        lock.release()


def _writer(
    lookup: Lookup, writers: Writers, embedder: Embedder, role: Role, identity: Mapping[str, Any]
) -> IdentityWriter:
    with writers.lock:
        provenance: dict[str, Any] = {}
        if not writers.has(identity) or session_of(embedder) is not None:
            provenance = {**embedder.provenance(), "context": context_of(embedder)}
            compare_canaries(lookup, embedder, role, identity, provenance)
        return writers.resume(identity, provenance)


def _note_quarantine(
    store: ShardStore, digest: bytes, keys: np.ndarray, failures: Mapping[int, str], have_one: np.ndarray
) -> None:
    """Bring the list up to date: what was asked for just now either failed again, or has a vector and is off it."""
    entries = quarantine.read_quarantine(store.folder, digest)
    if not entries and not failures:
        return
    names = quarantine.hex_keys(keys)
    left = dict(entries)
    for position, name in enumerate(names):
        if position in failures:
            left[name] = failures[position]
        elif have_one[position]:
            left.pop(name, None)
    if left != entries:
        quarantine.write_quarantine(store.folder, digest, left)
