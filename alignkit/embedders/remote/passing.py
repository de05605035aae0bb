"""What every remote embedder does to texts on the way: leave out what no server can read, put the prompt in front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.embedders.contexts import Context
from alignkit.embedders.embeddable import admit
from alignkit.embedders.remote.engine import HttpEngine

NUL_FAULT = "the text holds a NUL character, at which a server may cut it"


def embed_through(
    engine: HttpEngine, texts: Sequence[str], prompt: str, context: Context, asks_whole: bool = False
) -> Iterator[EmbeddedBatch]:
    """Batches of an engine, and one of the texts that cannot be sent.

    Args:
        engine: to the server.
        texts: as the user gave them.
        prompt: put before each.
        context: of the model; texts that may be longer go last.
        asks_whole: whether the server is first asked for a long text's vector without cutting it, and refuses; else
            such texts go one by one, and the number of their tokens tells.
    """
    positions, failures = admit(texts)
    failures.update({position: NUL_FAULT for position in positions if "\0" in texts[position]})
    sent = {position: prompt + texts[position] for position in positions if position not in failures}
    long = [position for position, text in sent.items() if context.may_cut(text)]
    short = [position for position in sent if position not in set(long)] if long else list(sent)
    if short:
        yield from engine.embed([sent[position] for position in short], short)
    if long:
        yield from (_whole_first if asks_whole else _one_by_one)(engine, sent, long, context)
    if failures:
        yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, engine.dim), np.float32), failures)


def _whole_first(
    engine: HttpEngine, sent: Mapping[int, str], positions: list[int], context: Context
) -> Iterator[EmbeddedBatch]:
    refused: list[int] = []
    for batch in engine.embed([sent[position] for position in positions], positions):
        too_long = {position for position, reason in batch.failures.items() if "context" in reason}
        refused += sorted(too_long)
        failures = {position: reason for position, reason in batch.failures.items() if position not in too_long}
        if len(batch.indices) or failures:
            yield replace(batch, failures=failures)
    if refused:
        context.cut.update(sent[position] for position in refused)
        yield from _marked(engine.embed([sent[position] for position in refused], refused), sent, context)


def _one_by_one(
    engine: HttpEngine, sent: Mapping[int, str], positions: list[int], context: Context
) -> Iterator[EmbeddedBatch]:
    batches = engine.embed([sent[position] for position in positions], positions, one_by_one=True)
    yield from _marked(batches, sent, context)


def _marked(batches: Iterator[EmbeddedBatch], sent: Mapping[int, str], context: Context) -> Iterator[EmbeddedBatch]:
    for batch in batches:
        cut = frozenset(position for position in batch.indices.tolist() if sent[position] in context.cut)
        context.cut.difference_update(sent[position] for position in cut)  # it is told, and may be large
        yield replace(batch, cut=cut)
