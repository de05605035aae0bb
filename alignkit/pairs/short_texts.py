"""Short texts out of an index's documents, as pairs to fit on beside the documents: queries are as short."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from alignkit.cache import KeyedTexts
from alignkit.errors import DataError
from alignkit.pairs.base import Identity, MissingVectorsError, Pairs
from alignkit.pairs.cached_sides import CachedSides, as_array
from alignkit.pairs.openings import openings
from alignkit.pairs.row_sentences import spread_sentences
from alignkit.pairs.same_teacher import COMPARED, check_same_teacher
from alignkit.progress import progress
from alignkit.sentences.records import Sentence

logger = logging.getLogger(__name__)

# the fewest calls of the teacher that bring a sentence
LEAST_BUDGET = COMPARED + 1


def opening_pairs(asked: CachedSides, documents: Pairs, known: Collection[str]) -> Pairs | None:
    """How the documents begin, with their vectors; `None` where nothing short stands for them.

    Args:
        asked: embeds queries.
        documents: to fit on, with texts.
        known: see `openings`.
    """
    begun = openings(documents.texts or (), known)
    if asked.student is None or not begun:
        return None
    try:
        found = asked.students(KeyedTexts(list(begun)))
    except MissingVectorsError:
        if asked.live:
            raise
        logger.info("the cache lacks the student's vectors of the documents' openings, which are left out")
        return None
    at = np.array(list(begun.values()), dtype=np.int64)[found.rows]
    return Pairs(
        ids=[f"opening of {documents.ids[row]}" for row in at],
        student=as_array(asked.cache.vectors_of(found.identity, found.texts)),
        teacher=np.asarray(documents.teacher[at]),
        texts=list(found.texts),
    )


@dataclass(frozen=True)
class SentencePairs:
    """Sentences of documents.

    Attributes:
        pairs: as queries, by both models.
        calls: of the teacher; what the cache held took none.
        teacher_identity: of the teacher, which has been found to be the documents' own.
    """

    pairs: Pairs
    calls: int
    teacher_identity: Identity


def sentence_pairs(
    asked: CachedSides, documents: Pairs, known: Collection[str], *, budget: int, seed: int, stored: CachedSides
) -> SentencePairs:
    """Ask the teacher for sentences of the documents; it has to be the one that made the documents' vectors.

    Args:
        asked: embeds queries.
        documents: to fit on, with texts.
        known: see `spread_sentences`.
        budget: most calls of the teacher, a few that tell whose vectors these are among them.
        seed: of the choice.
        stored: embeds documents.

    Raises:
        ConfigError: if the teacher did not make the documents' vectors.
        DataError: if no document has several sentences.
        MissingVectorsError: if the student may not be asked.
        EmbedderError: if a model fails.
    """
    teacher, cache = asked.teacher, asked.cache
    sentences = spread_sentences(documents.texts or (), budget - COMPARED, seed, known)
    if not sentences:
        raise DataError(
            "data.units=sentence: no row has several sentences of at least four words; take data.units=document"
        )
    otherwise = "take data.units=document, which never calls it"
    calls = check_same_teacher(documents, teacher, cache, stored.role, otherwise)
    logger.info("the teacher is asked for up to %s sentences of the rows (data.budget=%s)", len(sentences), budget)
    with progress("teacher, sentences", "texts") as counted:
        counted.begin(len(sentences))
        calls += cache.fill(teacher, list(sentences), asked.role, counted.advance).new
    names = (f"sentence {place} of {documents.ids[row]}" for place, row in enumerate(sentences.values()))
    both = asked.both([Sentence(name, text) for name, text in zip(names, sentences, strict=True)])
    student, teachers = both.arrays(cache, np.arange(len(both.sentences)))
    pairs = Pairs([one.id for one in both.sentences], student, teachers, list(both.texts))
    return SentencePairs(pairs, calls, both.teacher_identity)
