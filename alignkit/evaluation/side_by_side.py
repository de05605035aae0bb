"""The same queries searched by the student, through the head and by the teacher, side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from alignkit.embedders.base import Embedder, Role, embed_all
from alignkit.errors import DataError
from alignkit.evaluation.aligning import align
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.heads.base import Head
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.pairs.unit_rows import unit_rows
from alignkit.setting_rules import check, whole
from alignkit.vectors import l2_normalize

EMBED = "embed"


@dataclass(frozen=True)
class Hit:
    """One text that was found.

    Attributes:
        row: in the corpus.
        score: cosine.
        moved: places up (+) or down (-) against the teacher's own ranking, `None` where that is not known.
    """

    row: int
    score: float
    moved: int | None


@dataclass(frozen=True)
class Answer:
    """What each of `SideBySide.rows` finds for one query, and what each step took: on the CPU, but for `EMBED`."""

    query: str
    hits: Mapping[RowName, Sequence[Hit]]
    times_ms: Mapping[str, float]


class SideBySide:
    """Three searches over one corpus.

    Args:
        test: queries and corpus, with texts.
        head: of the product.
        product: the rows of the student and the head.

    Attributes:
        rows: the three rows of the table that search.

    Raises:
        DataError: if the sentences behind the vectors are not known.
    """

    def __init__(self, test: EvaluationSet, head: Head, product: Product = HEAD_ALONE) -> None:
        if test.queries.texts is None or test.corpus.texts is None:
            raise DataError(
                "the sentences behind the test vectors are not known, so there is nothing to show; with data=vectors, "
                "give data.sentences= and no test files, whose sentences cannot be given"
            )
        self._test, self._head, self._product = test, head, product
        self.rows = (product.own_index, product.row, RowName.TEACHER)
        teacher = torch.from_numpy(np.asarray(test.corpus.teacher))
        student = torch.from_numpy(np.asarray(unit_rows(test.corpus.student)))
        self._indexes = dict(zip(self.rows, (student, teacher, teacher), strict=True))
        self._answer_row(0, 1)  # the first pass through a head is slower than any other

    def text(self, hit: Hit) -> str:
        """Of a hit."""
        return (self._test.corpus.texts or [])[hit.row]

    def samples(self, count: int, topk: int, seed: int) -> list[Answer]:
        """Answers to a seeded choice of the set's own queries.

        Raises:
            ConfigError: if a number is below 1.
        """
        check({"samples": count, "topk": topk}, dict.fromkeys(("samples", "topk"), whole(1)))
        total = len(self._test.queries)
        rows = np.sort(np.random.default_rng(seed).permutation(total)[:count])
        return [self._answer_row(int(row), topk) for row in rows]

    def ask(self, text: str, student: Embedder, role: Role, topk: int) -> Answer:
        """Search for a new sentence: by the student and through the head; the teacher is not asked.

        Raises:
            EmbedderError: if the student has no vector for it.
        """
        started = time.perf_counter()
        vector = embed_all(student, [text], role)
        times = {EMBED: _ms(started)}
        return self._answer(text, {self._product.own_index: vector}, -1, topk, times)

    def _answer_row(self, row: int, topk: int) -> Answer:
        queries = self._test.queries
        at = slice(row, row + 1)
        vectors = {self._product.own_index: queries.student[at], RowName.TEACHER: queries.teacher[at]}
        return self._answer((queries.texts or [])[row], vectors, int(self._test.itself[row]), topk, {})

    def _answer(
        self, text: str, vectors: Mapping[RowName, np.ndarray], itself: int, topk: int, times: dict[str, float]
    ) -> Answer:
        started = time.perf_counter()
        aligned = align(self._head, vectors[self._product.own_index])
        times["head"] = _ms(started)
        unit = {name: torch.from_numpy(unit_rows(vector)) for name, vector in vectors.items()}
        unit[self._product.row] = l2_normalize(aligned)
        scores = {}
        for name in self.rows:
            if name in unit:
                started = time.perf_counter()
                scores[name] = (self._indexes[name] @ unit[name][0]).numpy()
                times[f"search {name}"] = _ms(started)
        if itself >= 0:
            for own in scores.values():
                own[itself] = -np.inf
        orders = {name: np.argsort(-own, kind="stable") for name, own in scores.items()}
        place = np.argsort(orders[RowName.TEACHER]) if RowName.TEACHER in orders else None
        hits = {
            name: [
                Hit(int(row), float(scores[name][row]), None if place is None else int(place[row]) - rank)
                for rank, row in enumerate(orders[name][:topk])
                if np.isfinite(scores[name][row])
            ]
            for name in orders
        }
        return Answer(text, hits, times)


def _ms(started: float) -> float:
    return 1000 * (time.perf_counter() - started)
