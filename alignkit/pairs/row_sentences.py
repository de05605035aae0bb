"""Sentences of an index's documents, each with a vector of its own by the teacher: they are as short as queries.

Unlike openings they cost calls of the teacher, and tell where in its space short texts of these subjects lie.
Cranfield's documents with their openings, without and with 2,800 sentences at .3; share of the teacher's
nDCG@10 on real queries, overlap@10, cosine:

- kernel regression: two layers 89.7%, .538, .744 and 91.2%, .608, .806; static 93.8%, .567, .751 and 95.3%, .608, .793.
- the command, whose whitening differs: two layers 87.6%, .533, .743 and 89.5%, .598, .810; static 95.9%, .570, .734 and
  90.5%, .624, .806. So they surely find more of what the teacher finds, and not surely more that people judge relevant.
- at 1, static: 90.1%, .624, .806; 1,400 sentences at 1 without openings: 87.4%; 350 at .2: 94.0%, cosine .758.
- choosing by held-out sentences in the place of documents changes nothing beyond noise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from alignkit.pairs.openings import FEWEST_WORDS, SENTENCE_END, WORD
from alignkit.sentences.normalise import normalise_text

# what a sentence counts beside a document
SENTENCE_WEIGHT = 0.3


def sentences_of(text: str) -> list[str]:
    """Its sentences and lines of at least four words; none where it is a single one.

    >>> sentences_of("How to reset a password. Open the settings first. Done.")
    ['How to reset a password.', 'Open the settings first.']
    >>> sentences_of("How to reset a password.")
    []
    """
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    parts = [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    parts = [part for part in parts if part]
    return [part for part in parts if len(WORD.findall(part)) >= FEWEST_WORDS] if len(parts) > 1 else []


def spread_sentences(texts: Sequence[str], most: int, seed: int, known: Collection[str]) -> dict[str, int]:
    """Distinct sentences, each with the row of its document: one of every document before a second of any.

    Args:
        texts: N documents.
        most: how many.
        seed: of the choice.
        known: texts that are looked at later, or have a vector; no sentence equals one of them.
    """
    taken = {normalise_text(text) for text in known}
    generator = np.random.default_rng(seed)
    waiting = []
    for row, text in enumerate(texts):
        parts = sentences_of(text)
        order = generator.permutation(len(parts))
        waiting += [(turn, generator.random(), row, parts[place]) for turn, place in enumerate(order)]
    found: dict[str, int] = {}
    for _, _, row, sentence in sorted(waiting):
        if len(found) == most:
            break
        if (name := normalise_text(sentence)) not in taken:
            taken.add(name)
            found[sentence] = row
    return found
