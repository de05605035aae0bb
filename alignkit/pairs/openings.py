"""How documents begin: a title or a first sentence is the text of an index that is most like a query for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from alignkit.sentences.normalise import CJK, normalise_text

# What an opening counts beside a document. Kernel regression keeps, of the teacher's nDCG@10, from documents alone and
# with openings at .1, .2, .3 and 1 (two-layer student; static student): questions with their answers 72%, and 87, 88,
# 88, 83%; 85%, and 88, 89, 90, 82%. Answers alone, whose openings are no titles: 61%, and 64, 65, 63, 57%; 76%, and 76,
# 74, 75, 57%. Cranfield, documents with titles, alone and at .2: 79 and 89%; 87 and 92%. A random span of each document
# in the place of its opening takes Cranfield down by 1 to 5 points
#
# The same head serves documents. One fitted on whole documents alone makes a poorer index of documents that it was not
# fitted on, though Cranfield's come out nearer to the teacher's (cosine .811 for .806, static): the teacher's queries
# keep there, with openings and without, Cranfield 81 and 80%, 89 and 85%; ADI 71 and 71%, 84 and 82%; questions with
# answers 50 and 42%, 54 and 53%; answers 38 and 37%, 51 and 48%. So there is no head of its own for documents
OPENING_WEIGHT = 0.2
FEWEST_WORDS, MOST_WORDS = 4, 20
# a character of a script without spaces counts as a word
WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s)|[。！？]|(?=[\r\n])")


def opening(text: str) -> str | None:
    """The title or first sentence of a document, of at most 20 words; `None` where that is all of it.

    A first line or sentence of fewer than four words says too little and is taken together with the next.

    >>> opening("How to reset a password. Open the settings, then choose Security.")
    'How to reset a password.'
    """
    words = list(WORD.finditer(text))
    if len(words) <= FEWEST_WORDS:
        return None
    cut = words[min(MOST_WORDS, len(words)) - 1].end()
    end = SENTENCE_END.search(text, words[FEWEST_WORDS - 1].start())
    cut = cut if end is None else min(cut, end.end())
    return None if cut >= words[-1].end() else text[:cut].strip()


def openings(texts: Sequence[str], known: Collection[str]) -> dict[str, int]:
    """Each usable opening with the row of its document.

    What several documents begin with tells none of them from the others, and what is a text of the index has a vector
    of its own: both are left out.

    Args:
        texts: N documents.
        known: all texts that have a vector by the teacher, held-out ones too.
    """
    found = {row: begin for row, text in enumerate(texts) if (begin := opening(text)) is not None}
    names = {row: normalise_text(begin) for row, begin in found.items()}
    times, taken = Counter(names.values()), {normalise_text(text) for text in known}
    return {begin: row for row, begin in found.items() if times[names[row]] == 1 and names[row] not in taken}
