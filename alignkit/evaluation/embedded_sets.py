"""`data=beir` and `data=sts`: test sets of text, embedded by both models through the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import EmbedderError
from alignkit.evaluation.judged_texts import SHOWN, judged_texts
from alignkit.evaluation.sets import EvaluationSet, HumanScores, Side
from alignkit.metrics.retrieval import Qrels
from alignkit.progress import progress
from alignkit.sentences.pair_files import read_sts

logger = logging.getLogger(__name__)


@runtime_checkable
class TextSet(Protocol):
    """A test set that has no vectors yet, and no training split."""

    def embed(self, student: Embedder, teacher: Embedder) -> EvaluationSet:
        """Read the texts and embed what the cache lacks."""
        ...


@dataclass(frozen=True)
class BeirFolder:
    """Retrieval with judgements.

    Attributes:
        path: folder of `corpus.jsonl`, `queries.jsonl` and `qrels/`.
        split: which file in `qrels/`.
        document: what of a corpus row is searched: `title+text`, `title` or `text`.
        cache_dir: of the vector cache.
    """

    path: str
    split: str = "test"
    document: str = "title+text"
    cache_dir: str = "cache"

    def embed(self, student: Embedder, teacher: Embedder) -> EvaluationSet:
        """Read and embed.

        Raises:
            DataError: if the folder cannot be used.
            EmbedderError: if a model fails, or no text has a vector.
        """
        texts = judged_texts(self.path, self.split, self.document)
        with VectorCache(self.cache_dir) as cache:
            models = {"student": student, "teacher": teacher}
            queries = _embed(cache, models, texts.queries, "query")
            corpus = _embed(cache, models, texts.corpus, "document")
            identities = _identities(cache, models)
        query_row = {key: row for row, key in enumerate(queries.keys)}
        corpus_row = {key: row for row, key in enumerate(corpus.keys)}
        # rows behind the corpus: what has no vector is found by nobody, and counts as not found where it is relevant
        judged_row = corpus_row | {key: row for row, key in enumerate(corpus.failures, start=len(corpus_row))}
        judgements = [one for one in texts.judgements if one[0] in query_row]
        return EvaluationSet(
            queries=queries.side,
            corpus=corpus.side,
            itself=np.array([corpus_row.get(texts.itself.get(key, ""), -1) for key in queries.keys]),
            qrels=Qrels.of(
                [query_row[query] for query, _, _ in judgements],
                [judged_row[document] for _, document, _ in judgements],
                [grade for _, _, grade in judgements],
                (len(query_row), len(judged_row)),
            ),
            meta={
                "source": f"{Path(self.path).name}: a BEIR folder with judgements, searched by {self.document}",
                "real": None,
                "split": f"qrels/{self.split}.tsv",
                "notes": [
                    *texts.notes,
                    *_left_out("queries", queries),
                    *_left_out("texts of the corpus", corpus, "; where one is relevant, it counts as not found"),
                ],
                **identities,
            },
        )


@dataclass(frozen=True)
class StsFile:
    """Pairs of sentences with people's likeness scores; every distinct sentence is also a query against the others.

    Attributes:
        path: `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        first: column of one sentence; `None` looks for a usual name (`sentence1`, `text1`, `en1` ...).
        second: column of the other, likewise.
        score: column of the score, higher is more alike.
        cache_dir: of the vector cache.
    """

    path: str
    first: str | None = None
    second: str | None = None
    score: str = "score"
    cache_dir: str = "cache"

    def embed(self, student: Embedder, teacher: Embedder) -> EvaluationSet:
        """Read and embed.

        Raises:
            DataError: if the file cannot be used.
            EmbedderError: if a model fails, or no text has a vector.
        """
        pairs = read_sts(self.path, self.first, self.second, self.score)
        both = list(zip(pairs.first, pairs.second, strict=True))
        with VectorCache(self.cache_dir) as cache:
            models = {"student": student, "teacher": teacher}
            found = _embed(cache, models, {text: text for pair in both for text in pair}, "query")
            identities = _identities(cache, models)
        row_of = {text: row for row, text in enumerate(found.keys)}
        kept = [place for place, (one, other) in enumerate(both) if one in row_of and other in row_of]
        left_out = len(both) - len(kept)
        return EvaluationSet(
            queries=found.side,
            corpus=found.side,
            itself=np.arange(len(row_of)),
            human=HumanScores(
                first=np.array([row_of[both[place][0]] for place in kept]),
                second=np.array([row_of[both[place][1]] for place in kept]),
                scores=np.asarray(pairs.scores)[kept],
            ),
            meta={
                "source": f"{Path(self.path).name}: {len(pairs.first):,} pairs of sentences with likeness scores",
                "real": None,
                "split": "the file given",
                "notes": [
                    "column human: Spearman over the pairs; where a row searches the teacher's corpus, the second "
                    "sentence is the teacher's",
                    "every distinct sentence is a query against the others",
                    *_left_out("sentences", found, f", and with them {left_out:,} of the pairs"),
                ],
                **identities,
            },
        )


@dataclass(frozen=True)
class _Embedded:
    """Texts that both models have a vector of, and the others.

    Attributes:
        side: vectors and texts.
        keys: of the rows of `side`.
        failures: key of each text that is left out → the reason.
    """

    side: Side
    keys: list[str]
    failures: Mapping[str, str]


def _embed(cache: VectorCache, models: Mapping[str, Embedder], texts: Mapping[str, str], role: Role) -> _Embedded:
    """Both models' vectors of `key -> text`; a text at fault (blank, too long to be taken whole) is left out."""
    keys = list(texts)
    failures: dict[str, str] = {}
    vectors: dict[str, np.ndarray] = {}
    for name, embedder in models.items():
        cached = CachedEmbedder(embedder, cache)
        asked = np.array([row for row, key in enumerate(keys) if key not in failures], dtype=np.int64)
        logger.info("%s: %d texts as %s", name, len(asked), role)
        vectors[name] = np.zeros((len(keys), cached.dim), dtype=np.float32)
        with progress(name, "texts") as counted:
            counted.begin(len(asked))
            for batch in cached.embed([texts[keys[row]] for row in asked], role):
                vectors[name][asked[batch.indices]] = batch.vectors
                failures |= {keys[asked[place]]: reason for place, reason in batch.failures.items()}
                counted.advance(len(batch.indices) + len(batch.failures))
        if len(failures) == len(keys):
            raise EmbedderError(f"no text has a vector by the {name}; the first: {failures[keys[0]]}")
    if failures:  # a copy of a large corpus is made only where it has to be
        kept = [row for row, key in enumerate(keys) if key not in failures]
        vectors = {name: own[kept] for name, own in vectors.items()}
        keys = [keys[row] for row in kept]
    side = Side(student=vectors["student"], teacher=vectors["teacher"], texts=[texts[key] for key in keys])
    return _Embedded(side, keys, failures)


def _left_out(what: str, found: _Embedded, then: str = "") -> list[str]:
    if not found.failures:
        return []
    count, total = len(found.failures), len(found.keys) + len(found.failures)
    first = "; ".join(f"{key[:40] or '(empty)'}: {reason}" for key, reason in list(found.failures.items())[:SHOWN])
    note = f"{count:,} of {total:,} {what} cannot be embedded and are left out{then}. The first: {first}"
    logger.warning("%s", note)
    return [note]


def _identities(cache: VectorCache, models: dict[str, Embedder]) -> dict[str, Any]:
    return {f"{name}_identity": CachedEmbedder(part, cache).identity("query") for name, part in models.items()}
