"""`data=beir`: queries and a corpus with judgements, as a BEIR folder holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder
from alignkit.metrics.retrieval import Qrels
from alignkit.pairs.base import Origin
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.pairs.judged_texts import judged_texts
from alignkit.pairs.text_sets import embed_texts, identities_of, left_out_note
from alignkit.sentences.beir import fields_of_beir
from alignkit.sentences.text_fields import FieldRows


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
            queries = embed_texts(cache, models, texts.queries, "query")
            corpus = embed_texts(cache, models, texts.corpus, "document")
            identities = identities_of(cache, models)
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
            origin=Origin(
                source=f"{Path(self.path).name}: a BEIR folder with judgements, searched by {self.document}",
                split=f"qrels/{self.split}.tsv",
                student_identity=identities["student"],
                teacher_identity=identities["teacher"],
                notes=(
                    *texts.notes,
                    *left_out_note("queries", queries),
                    *left_out_note("texts of the corpus", corpus, "; where one is relevant, it counts as not found"),
                ),
                fields=self.fields(),
            ),
        )

    def fields(self) -> tuple[FieldRows, ...]:
        """Of `queries.jsonl` and of `corpus.jsonl`."""
        return fields_of_beir(self.path, self.document)
