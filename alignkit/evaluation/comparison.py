"""The comparison itself: a head, its rivals, its floor and its ceiling on the same queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignkit.artifact import CONFIDENCE, QUERY_HEAD, Artifact
from alignkit.errors import ArtifactError
from alignkit.evaluation.alarms import alarms
from alignkit.evaluation.aligning import align
from alignkit.evaluation.confidence_figures import confidence_figures
from alignkit.evaluation.evidence import deciding_measure, gather, notes_on, query_groups
from alignkit.evaluation.floor_heads import raw_head
from alignkit.evaluation.rankings import Ranking, cascade_size, rank_all, rerank
from alignkit.evaluation.row_figures import figures_of_rows
from alignkit.evaluation.same_models import check_fit
from alignkit.evaluation.verdict import BROKEN_SHARE, Thresholds, Verdict, decide
from alignkit.heads.base import Head
from alignkit.metrics.alignment import Row
from alignkit.metrics.intervals import RESAMPLES, Interval, PairedBootstrap
from alignkit.metrics.retrieval import ndcg_at_k, ranking_overlap, recall_at_k, reciprocal_rank
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import cosine, l2_normalize

DOCUMENT_HEAD = "document_head"
# the order in which people read them: the product between its ceiling and its rivals, the floor last
ORDER = ("teacher", "aligned", "aligned_both", "student", "cascade", "ridge", "raw", "mean")
RIVALS = ("student", "ridge", "teacher")


@dataclass(frozen=True)
class Comparison:
    """Everything that a report needs.

    Attributes:
        test: what was measured on.
        rows: row name → figures, as in `metrics.json`.
        figures: measure → row name → `(Q,)` per-query figures, NaN where undefined.
        rankings: row name → what it found.
        cosines: row name → `(Q,)` cosines with the teacher's vectors.
        vectors: row name → `(Q, teacher_dim)` float32, of `teacher` (unit length) and `aligned`.
        verdict: in words.
        meta: plain JSON values: `verdict`, `intervals`, `differences`, `shares`, `alarms`, sizes and seeds;
            `confidence` (`confidence_figures`) where the head has that estimate.
    """

    test: EvaluationSet
    rows: Mapping[str, Row]
    figures: Mapping[str, Mapping[str, np.ndarray]]
    rankings: Mapping[str, Ranking]
    cosines: Mapping[str, np.ndarray]
    vectors: Mapping[str, Tensor]
    verdict: Verdict
    meta: Mapping[str, Any]

    @property
    def measure(self) -> str:
        """The measure that the verdict is about."""
        return str(self.meta["measure"])


def compare(
    test: EvaluationSet,
    artifact: Artifact,
    baselines: Mapping[str, Head] | None = None,
    *,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    search: str = "exact",
    seen: int | None = None,
    unlike: str | None = None,
) -> Comparison:
    """Measure a head on a set.

    Args:
        test: queries and corpus with both models' vectors.
        artifact: the head; a `document_head` in it serves the corpus of `aligned_both`.
        baselines: `ridge` and `mean` of the same training pairs, where they were kept. Without `mean` there is no
            training mean, and the centred cosine is undefined.
        thresholds: of the verdict.
        seed: of the random projection, of samples and of the bootstrap.
        resamples: of the bootstrap.
        search: what finds the neighbours, `exact` or `faiss`; the results are the same.
        seen: how many of the queries the head was trained on; `None` where that is not known.
        unlike: in words, how far the queries are from the training sentences, if they are (`TrainingSample.unlike`).

    Raises:
        ConfigError: for another search.
        MissingExtraError: for faiss, if it is not installed.
        ArtifactError: if the head was made for other vectors than the set holds.
    """
    check_fit(artifact, test)
    heads = {
        "aligned": artifact.parts[QUERY_HEAD],
        **(baselines or {}),
        "raw": raw_head(artifact.head.student_dim, artifact.head.teacher_dim, seed),
    }
    vectors = {name: align(head, test.queries.student) for name, head in heads.items()}
    _check_finite(vectors["aligned"])
    vectors["teacher"] = l2_normalize(torch.from_numpy(np.array(test.queries.teacher, dtype=np.float32)))
    document_head = artifact.parts.get(DOCUMENT_HEAD, heads["aligned"])
    rankings = rank_all(test, vectors, document_head, search=search)
    size = cascade_size(len(test.corpus))
    cascade = f"cascade@{size}"
    # what knows nothing, a random projection and the mean, is the first stage of a cascade too
    floors = [name for name in ("raw", "mean") if name in rankings]
    first_stage = {name: rankings[name] for name in ("aligned", *floors)}
    reranked = rerank(first_stage, test.queries.teacher, test.corpus.teacher, size)
    rankings[cascade] = reranked.pop("aligned")
    figures = _figures(test, rankings)
    together = query_groups(test)
    bootstraps = {
        name: PairedBootstrap(by_row, together, seed=seed, resamples=resamples) for name, by_row in figures.items()
    }
    measure = deciding_measure(bootstraps)
    blind = _figures(test, {"teacher": rankings["teacher"], **reranked})[measure]
    blind.pop("teacher")
    evidence = gather(
        test, measure, figures[measure], blind, bootstraps[measure], cascade, seen=seen or 0, unlike=unlike
    )
    verdict = decide(evidence, thresholds)
    rows = figures_of_rows(test, vectors, figures, bootstraps, _training_mean(baselines), seed)
    meta = {
        **test.origin.to_json(),
        "notes": [*test.origin.notes, *notes_on(evidence, bootstraps)],
        "verdict": verdict.name,
        "verdict_text": verdict.to_json(),
        "thresholds": {**vars(thresholds or Thresholds()), "broken": BROKEN_SHARE},
        "measure": measure,
        "cascade": cascade,
        "queries": len(test.queries),
        "judged_queries": evidence.queries,
        "query_groups": evidence.groups,
        "seen_in_training": seen,
        "corpus": len(test.corpus),
        "depth": rankings["teacher"].rows.shape[1],
        "resamples": resamples,
        "seed": seed,
        "left_out_rows": [name for name in ("ridge", "mean") if name not in heads],
        "intervals": {name: {row: _json(bootstraps[name].mean(row)) for row in figures[name]} for name in figures},
        "differences": {
            name: {f"aligned - {rival}": _json(bootstraps[name].difference("aligned", rival))
                   for rival in RIVALS if rival in figures[name]}
            for name in figures
        },
        "shares": {row: _json(bootstraps[measure].ratio(row, "teacher")) for row in figures[measure]},
        "floor_share": evidence.floor_share,
        "floor_cascade_share": evidence.floor_cascade_share,
    }  # fmt: skip
    meta["alarms"] = alarms(vectors, rankings, len(test.corpus), seen or 0)
    if unlike is not None and not any(unlike in reason for reason in verdict.reasons):
        meta["alarms"]["raised"].append(f"{unlike}; expect less of the head here, and train on texts like these")
    if CONFIDENCE in artifact.parts:
        told = align(artifact.parts[CONFIDENCE], test.queries.student).numpy()
        meta["confidence"] = confidence_figures(told, figures["overlap@10"]["aligned"])
    cosines = {name: cosine(own, vectors["teacher"]).numpy() for name, own in vectors.items() if name != "teacher"}
    kept = {name: vectors[name] for name in ("teacher", "aligned")}
    return Comparison(test, rows, figures, rankings, cosines, kept, verdict, meta)


def _figures(test: EvaluationSet, rankings: Mapping[str, Ranking]) -> dict[str, dict[str, np.ndarray]]:
    names = [name for stem in ORDER for name in rankings if name.split("@")[0] == stem]
    teacher = rankings["teacher"].rows
    figures: dict[str, dict[str, np.ndarray]] = {
        "overlap@10": {name: ranking_overlap(rankings[name].rows, teacher, 10) for name in names}
    }
    for name in names:
        judged = test.judge(rankings[name].rows)
        if judged is None or not (judged.relevant > 0).any():
            break
        measures = {
            **{f"recall@{k}": recall_at_k(judged, k) for k in (1, 5, 10)},
            "mrr": reciprocal_rank(judged),
            "mrr@10": reciprocal_rank(judged, 10),
            "ndcg@10": ndcg_at_k(judged, 10),
        }
        for measure, values in measures.items():
            figures.setdefault(measure, {})[name] = values
    return figures


def _training_mean(baselines: Mapping[str, Head] | None) -> Tensor | None:
    if not baselines or "mean" not in baselines:
        return None
    # the mean predictor says the same of every sentence
    head = baselines["mean"]
    return align(head, np.zeros((1, head.student_dim), dtype=np.float32))[0]


def _check_finite(aligned: Tensor) -> None:
    broken = (~torch.isfinite(aligned).all(dim=1)).nonzero()
    if len(broken):
        raise ArtifactError(
            f"the head gives NaN or Inf for {len(broken)} of {len(aligned)} queries, the first is query "
            f"{int(broken[0])}; train it again with a smaller lr"
        )


def _json(interval: Interval | None) -> dict[str, float] | None:
    return interval.to_json() if interval else None
