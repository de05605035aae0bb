"""Which texts a model in this process would truncate, as counted by its own tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from alignkit.embedders.contexts import Context


def token_limit(reader: Any) -> int | None:
    """Maximum tokens of a text that a model's first module reads; None if it gives no limit."""
    limit = getattr(reader, "max_seq_length", None)
    return None if limit is None or math.isinf(limit) else int(limit)


def too_long(reader: Any, texts: Sequence[tuple[int, str]]) -> dict[int, str]:
    """Position -> what is wrong, for each `(position, text)` with more tokens than the model reads."""
    limit = token_limit(reader)
    # a token is at least one byte, so most texts are too short to need a check
    context = Context(limit)
    texts = [(place, text) for place, text in texts if context.may_cut(text)]
    if limit is None or not texts:
        return {}
    # `verbose` off: a tokenizer warns about every text past the limit, which is what this looks for
    tokens = reader.tokenizer([text for _, text in texts], truncation=False, verbose=False)["input_ids"]
    lengths = [(place, len(ids)) for (place, _), ids in zip(texts, tokens, strict=True)]
    return {place: f"the text has {n} tokens, the model takes {limit}" for place, n in lengths if n > limit}


def tokens_read(reader: Any, texts: Sequence[str]) -> list[int]:
    """How many tokens of each text a model's first module reads."""
    limit = token_limit(reader)
    found = reader.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
    return [len(ids) if limit is None else min(len(ids), limit) for ids in found]
