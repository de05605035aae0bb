"""What every remote embedder does to texts first: drop those that no server can read, and prepend the prompt."""

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
    """Yield an engine's batches, and one batch for the texts that cannot be sent.

    Args:
        engine: to the server.
        texts: as the user gave them.
        prompt: prepended to each.
        context: of the model; texts that may be longer go last.
        asks_whole: whether a long text is first sent with truncation off, which the server refuses if it is too long;
            otherwise such texts are sent one by one, and their token counts show whether they were truncated.
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
        context.cut.difference_update(sent[position] for position in cut)  # already reported, and may be large
        yield replace(batch, cut=cut)
