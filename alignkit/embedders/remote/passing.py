"""What every remote embedder does to texts on the way: leave out what no server can read, put the prompt in front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.embedders.remote.engine import HttpEngine
from alignkit.embedders.texts import admit

NUL_FAULT = "the text holds a NUL character, at which a server may cut it"


def embed_through(engine: HttpEngine, texts: Sequence[str], prompt: str) -> Iterator[EmbeddedBatch]:
    """Batches of an engine, and one of the texts that cannot be sent."""
    positions, failures = admit(texts)
    failures.update({position: NUL_FAULT for position in positions if "\0" in texts[position]})
    positions = [position for position in positions if position not in failures]
    if positions:
        yield from engine.embed([prompt + texts[position] for position in positions], positions)
    if failures:
        yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, engine.dim), np.float32), failures)
