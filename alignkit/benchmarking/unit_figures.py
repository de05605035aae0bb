"""What a model reached for every query, pair or text of a task, out of what MTEB keeps of its predictions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.benchmarking.mteb_model import import_mteb
from alignkit.metrics.retrieval import Judged, ndcg_at_k, recall_at_k, reciprocal_rank

_RANKED: dict[str, Callable[[Judged, int], np.ndarray]] = {
    "ndcg": ndcg_at_k,
    "recall": recall_at_k,
    "mrr": lambda judged, k: reciprocal_rank(judged, k),
}
_SCORE = re.compile(r"(ndcg|recall|mrr)_at_(\d+)")
QUERIES, PAIRS, TEXTS = "queries", "pairs", "texts"
Ranked = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Stratum:
    """The units of one split and subset; a task's score is the mean of theirs.

    Attributes:
        units: names, the same for every model.
        figures: `(U,)`, what the model reached for each; where `targets` is not `None`, what it predicted.
        targets: `(U,)`, what people said of each: the score is then a rank correlation with it, else a mean.
    """

    units: tuple[str, ...]
    figures: np.ndarray
    targets: np.ndarray | None = None


@dataclass(frozen=True)
class UnitFigures:
    """All strata of a task, and what their units are called."""

    called: str
    strata: tuple[Stratum, ...]


def unit_figures(task: Any, predictions: Path) -> UnitFigures | None:
    """Figures of every unit whose mean is the task's main score; `None` where that score is not made of such.

    Args:
        task: that was run, its data loaded.
        predictions: the file that MTEB wrote.
    """
    mteb = import_mteb()
    kinds = (
        (mteb.abstasks.AbsTaskRetrieval, QUERIES, _retrieval),
        (mteb.abstasks.AbsTaskSTS, PAIRS, _likeness),
        (mteb.abstasks.AbsTaskClassification, TEXTS, _classes),
    )
    found = next((one for one in kinds if isinstance(task, one[0])), None)
    if found is None or not predictions.is_file():
        return None
    told = json.loads(predictions.read_text(encoding="utf-8"))
    strata = []
    for subset, splits in told.items():
        for split, predicted in splits.items() if subset != "mteb_model_meta" else ():
            stratum = found[2](task, _data_of(task, subset, split), predicted)
            if stratum is None:
                return None
            strata.append(stratum)
    return UnitFigures(found[1], tuple(strata))


def _data_of(task: Any, subset: str, split: str) -> Any:
    return task.dataset[subset][split] if subset in task.dataset else task.dataset[split]


def _retrieval(task: Any, data: Any, predicted: Ranked) -> Stratum | None:
    score = _SCORE.fullmatch(task.metadata.main_score)
    if score is None or task.skip_first_result:
        return None
    depth = int(score[2])
    judged = {query: grades for query, grades in data["relevant_docs"].items() if query in predicted}
    units = tuple(sorted(judged))
    gains, ideal = np.zeros((len(units), depth)), np.zeros((len(units), depth))
    relevant = np.zeros(len(units), dtype=np.int64)
    for row, query in enumerate(units):
        grades = {document: grade for document, grade in judged[query].items() if grade > 0}
        hits = predicted[query]
        if task.ignore_identical_ids:
            hits = {document: cosine for document, cosine in hits.items() if document != query}
        # as trec_eval: of equal cosines the greater name first
        first = sorted(hits, key=lambda document: (hits[document], document), reverse=True)[:depth]
        gains[row, : len(first)] = [grades.get(document, 0) for document in first]
        best = sorted(grades.values(), reverse=True)[:depth]
        ideal[row, : len(best)] = best
        relevant[row] = len(grades)
    figures = _RANKED[score[1]](Judged(gains, ideal, relevant), depth)
    # MTEB counts a query without anything relevant as not served
    return Stratum(units, np.nan_to_num(figures))


def _likeness(task: Any, data: Any, predicted: Mapping[str, list[float] | None]) -> Stratum | None:
    told = {"cosine_spearman": "cosine_scores", "spearman": "similarity_scores"}.get(task.metadata.main_score)
    if told is None or (cosines := predicted.get(told)) is None:
        return None
    targets = np.asarray(data["score"], dtype=np.float64)
    return Stratum(tuple(map(str, range(len(targets)))), np.asarray(cosines, dtype=np.float64), targets)


def _classes(task: Any, data: Any, predicted: list[list[float]]) -> Stratum | None:
    labels = np.asarray(data[task.label_column_name])
    tries = [np.asarray(one) for one in predicted]
    # parts of a cross-validation do not say which texts they are of
    if task.metadata.main_score != "accuracy" or any(len(one) != len(labels) for one in tries):
        return None
    return Stratum(tuple(map(str, range(len(labels)))), np.mean([one == labels for one in tries], axis=0))
