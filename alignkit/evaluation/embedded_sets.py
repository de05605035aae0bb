"""`data=beir` and `data=sts`: test sets of text, embedded by both models through the cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.embedders.base import Embedder, Role, embed_all
from alignkit.evaluation.judged_texts import judged_texts
from alignkit.evaluation.sets import EvaluationSet, HumanScores, Side
from alignkit.metrics.retrieval import Qrels
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
            EmbedderError: if a text has no vector.
        """
        texts = judged_texts(self.path, self.split, self.document)
        query_row = {key: row for row, key in enumerate(texts.queries)}
        corpus_row = {key: row for row, key in enumerate(texts.corpus)}
        with VectorCache(self.cache_dir) as cache:
            models = {"student": student, "teacher": teacher}
            queries = _side(cache, models, list(texts.queries.values()), "query")
            corpus = _side(cache, models, list(texts.corpus.values()), "document")
            identities = _identities(cache, models)
        shape = (len(query_row), len(corpus_row))
        return EvaluationSet(
            queries=queries,
            corpus=corpus,
            itself=np.array([corpus_row.get(texts.itself.get(key, ""), -1) for key in texts.queries]),
            qrels=Qrels.of(
                [query_row[query] for query, _, _ in texts.judgements],
                [corpus_row[document] for _, document, _ in texts.judgements],
                [grade for _, _, grade in texts.judgements],
                shape,
            ),
            meta={
                "source": f"{Path(self.path).name}: a BEIR folder with judgements, searched by {self.document}",
                "real": None,
                "split": f"qrels/{self.split}.tsv",
                "notes": texts.notes,
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
            EmbedderError: if a text has no vector.
        """
        pairs = read_sts(self.path, self.first, self.second, self.score)
        row_of: dict[str, int] = {}
        for one, other in zip(pairs.first, pairs.second, strict=True):
            row_of.setdefault(one, len(row_of))
            row_of.setdefault(other, len(row_of))
        with VectorCache(self.cache_dir) as cache:
            models = {"student": student, "teacher": teacher}
            side = _side(cache, models, list(row_of), "query")
            identities = _identities(cache, models)
        return EvaluationSet(
            queries=side,
            corpus=side,
            itself=np.arange(len(row_of)),
            human=HumanScores(
                first=np.array([row_of[one] for one in pairs.first]),
                second=np.array([row_of[other] for other in pairs.second]),
                scores=pairs.scores,
            ),
            meta={
                "source": f"{Path(self.path).name}: {len(pairs.first):,} pairs of sentences with likeness scores",
                "real": None,
                "split": "the file given",
                "notes": [
                    "column human: Spearman over the pairs; where a row searches the teacher's corpus, the second "
                    "sentence is the teacher's",
                    "every distinct sentence is a query against the others",
                ],
                **identities,
            },
        )


def _side(cache: VectorCache, models: dict[str, Embedder], texts: Sequence[str], role: Role) -> Side:
    vectors: dict[str, np.ndarray] = {}
    for name, embedder in models.items():
        logger.info("%s: %d texts as %s", name, len(texts), role)
        vectors[name] = embed_all(CachedEmbedder(embedder, cache), texts, role)
    return Side(student=vectors["student"], teacher=vectors["teacher"], texts=list(texts))


def _identities(cache: VectorCache, models: dict[str, Embedder]) -> dict[str, Any]:
    return {f"{name}_identity": CachedEmbedder(part, cache).identity("query") for name, part in models.items()}
