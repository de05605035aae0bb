"""`data=sts`: pairs of sentences that people scored for likeness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder
from alignkit.pairs.base import Origin
from alignkit.pairs.evaluation_set import EvaluationSet, HumanScores
from alignkit.pairs.text_sets import embed_texts, identities_of, left_out_note
from alignkit.sentences.pair_files import columns_of, read_sts
from alignkit.sentences.text_fields import FieldRows, fields_of_file


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
            found = embed_texts(cache, models, {text: text for pair in both for text in pair}, "query")
            identities = identities_of(cache, models)
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
            origin=Origin(
                source=f"{Path(self.path).name}: {len(pairs.first):,} pairs of sentences with likeness scores",
                split="the file given",
                student_identity=identities["student"],
                teacher_identity=identities["teacher"],
                notes=(
                    "column human: Spearman over the pairs; where a row searches the teacher's corpus, the second "
                    "sentence is the teacher's",
                    "every distinct sentence is a query against the others",
                    *left_out_note("sentences", found, f", and with them {left_out:,} of the pairs"),
                ),
                fields=self.fields(),
            ),
        )

    def fields(self) -> tuple[FieldRows, ...]:
        """Of the pairs, which say the same of both texts."""
        return (fields_of_file(self.path, *columns_of(Path(self.path).expanduser(), self.first, self.second)),)
