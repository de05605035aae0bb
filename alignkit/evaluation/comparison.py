"""The comparison itself: a head, its rivals, its floor and its ceiling on the same queries.

A set walks down from here: its vectors go through the heads (`row_vectors`), every row searches (`rankings`), what it
found is judged query by query (`judging`), intervals say what is chance (`metrics.intervals`), and from these come the
verdict and the table. Nothing is scaled on the way: vectors have length 1 from where they enter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from alignkit.artifact import Artifact
from alignkit.evaluation.alarms import measure_health
from alignkit.evaluation.aligning import align
from alignkit.evaluation.before import Before
from alignkit.evaluation.columns import Column
from alignkit.evaluation.confidence_figures import ConfidenceFigures, confidence_figures
from alignkit.evaluation.embedding_time import EmbeddingTime
from alignkit.evaluation.evidence import deciding_measure, gather, query_groups
from alignkit.evaluation.examples import worst_queries
from alignkit.evaluation.floor_heads import raw_head
from alignkit.evaluation.group_figures import figures_of_groups
from alignkit.evaluation.judging import figures_by_query
from alignkit.evaluation.query_times import query_times, times_before
from alignkit.evaluation.rankings import CPU, EXACT, Find, cascade_size, corpus_on, rank_all, rank_own_index, rerank
from alignkit.evaluation.recall_curves import recall_curves
from alignkit.evaluation.result import Certainty, Projection, Result, Sampling
from alignkit.evaluation.row_figures import figures_of_rows
from alignkit.evaluation.row_vectors import RowVectors, queries_of_rows, vectors_of_rows
from alignkit.evaluation.same_models import check_fit
from alignkit.evaluation.self_figures import self_figures
from alignkit.evaluation.set_digest import set_digest
from alignkit.evaluation.student_record import product_of
from alignkit.evaluation.table_rows import FLOORS, HEAD_ALONE, TRAINED_STUDENT, Product, RowName
from alignkit.evaluation.verdict import Thresholds, decide
from alignkit.heads.base import Head
from alignkit.metrics.intervals import RESAMPLES, PairedBootstrap
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.runs.training_sample import Unlike
from alignkit.vectors import unit_cosine

RIVALS = (RowName.ALIGNED, RowName.STUDENT_TUNED, RowName.STUDENT, RowName.RIDGE, RowName.TEACHER)
# vectors that a picture or a projector shows
PROJECTED = 600

Bootstraps = Mapping[Column, PairedBootstrap[RowName]]


def compare(
    test: EvaluationSet,
    artifact: Artifact,
    baselines: Mapping[str, Head] | None = None,
    *,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    search: str | Find = EXACT,
    seen: int | None = None,
    unlike: Unlike | None = None,
    embedding: Mapping[str, EmbeddingTime] | None = None,
    product: Product | None = None,
    before: Before | None = None,
    device: torch.device = CPU,
) -> Result:
    """Measure a head on a set.

    Args:
        test: queries and corpus with both models' vectors.
        artifact: the head; a `document_head` in it serves the corpus of `aligned_both`.
        baselines: `ridge` and `mean` of the same training pairs, where they were kept. Without `mean` there is no
            training mean, and the centred cosine is undefined.
        thresholds: of the verdict.
        seed: of the random projection, of samples and of the bootstrap.
        resamples: of the bootstrap.
        search: what finds the neighbours, `exact`, `faiss` or a function like `top_k`; the results are the same.
        seen: how many of the queries the head was trained on; `None` where that is not known.
        unlike: how far the queries are from the training sentences, if they are (`TrainingSample.unlike`).
        embedding: what a query costs `student` and `teacher`; `None` takes no times at all.
        product: what the rows of student and head are called; `None` goes by the artifact, see `product_of`.
        before: the student before it was trained with the head, and the head alone, on the same texts: the rows
            `aligned`, `aligned_plain` and `student`. The product is `TRAINED_STUDENT` then.
        device: where exact searches compute.

    Raises:
        ConfigError: for another search.
        MissingExtraError: for faiss, if it is not installed.
        ArtifactError: if the head was made for other vectors than the set holds, or gives NaN.
        DataError: if `before` holds other texts.
    """
    check_fit(artifact, test)
    if before is not None:
        before.check(test)
    product = TRAINED_STUDENT if before is not None else product or product_of(artifact)
    known = {RowName(name): head for name, head in (baselines or {}).items()}
    raw = raw_head(artifact.head.student_dim, artifact.head.teacher_dim, seed)
    heads = {product.row: artifact.head, **known, RowName.RAW: raw}
    vectors = vectors_of_rows(test, heads, product)
    asked = queries_of_rows(test, artifact, {name: own.unit for name, own in vectors.items()}, product)
    if before is not None:
        vectors[RowName.ALIGNED] = before.vectors()
        asked |= before.asked()
    unit = {name: own.unit for name, own in vectors.items()}
    device = device if search == EXACT else CPU
    corpus = corpus_on(test.corpus.teacher, device)
    rankings = rank_all(test, asked, artifact.document_head, search, product, device, corpus)
    if before is not None:
        rankings[RowName.STUDENT] = rank_own_index(before.test, search, device)
    size = cascade_size(len(test.corpus))
    # what knows nothing, a random projection and the mean, is the first stage of a cascade too
    first_stage = {name: rankings[name] for name in (product.row, *FLOORS) if name in rankings}
    reranked = rerank(first_stage, test.queries.teacher, corpus, size, device)
    del corpus
    rankings[RowName.CASCADE] = reranked.pop(product.row)
    figures = figures_by_query(test, rankings)
    together = query_groups(test)
    bootstraps: Bootstraps = {
        measure: PairedBootstrap(by_row, together, seed=seed, resamples=resamples)
        for measure, by_row in figures.items()
    }
    measure = deciding_measure(bootstraps)
    blind = figures_by_query(test, {RowName.TEACHER: rankings[RowName.TEACHER], **reranked})[measure]
    evidence = gather(
        test, bootstraps, figures[measure], {name: blind[name] for name in reranked},
        measure=measure, cascade_size=size, seen=seen, unlike=unlike, product=product,
    )  # fmt: skip
    cosines: dict[RowName, np.ndarray] = {
        name: unit_cosine(own, unit[RowName.TEACHER]).numpy() for name, own in unit.items() if name != RowName.TEACHER
    }
    result = Result(
        origin=test.origin,
        rows=figures_of_rows(
            test,
            vectors,
            bootstraps,
            self_figures(test, asked, seed, device),
            _training_mean(known),
            seed,
            product,
            None if before is None else before.student,
        ),  # fmt: skip
        left_out=tuple(name for name in (RowName.RIDGE, RowName.MEAN) if name not in heads),
        verdict=decide(evidence, thresholds),
        certainty=_certainty(bootstraps, measure, product),
        health=measure_health(vectors, rankings, len(test.corpus), product),
        confidence=_confidence(artifact, test, figures[Column.OVERLAP_10][product.row]),
        sampling=Sampling(seed=seed, resamples=resamples, depth=rankings[RowName.TEACHER].rows.shape[1]),
        cosines=cosines,
        recall=recall_curves(test, rankings, measure),
        groups=figures_of_groups(test, figures[measure], product, seed=seed, resamples=resamples),
        grouped_by=None if test.grouping is None else test.grouping.field,
        failures=worst_queries(test, figures[measure], rankings, cosines[product.row], product),
        projection=_projection(test, vectors, product),
        product=product,
        test_set=set_digest(test),
    )
    if embedding is None:
        return result
    timed: dict[RowName, Head] = {name: head for name, head in heads.items() if name != RowName.MEAN}
    costs = [{side: getattr(one, name) for side, one in embedding.items()} for name in ("ms", "mb")]
    # beside a head alone, which weighs next to nothing, the size of two given models says nothing
    sized = costs[1] if product != HEAD_ALONE else None
    times = query_times(test, timed, costs[0], product, sized)
    if before is not None:
        was = before.embedding or EmbeddingTime(None, "not timed")
        times |= times_before(before.test, before.artifact.query_head, was.ms, was.mb)
    return result.with_times(times)


def _certainty(bootstraps: Bootstraps, measure: Column, product: Product) -> Certainty:
    return Certainty(
        means={one: {name: own.mean(name) for name in own.names} for one, own in bootstraps.items()},
        differences={
            one: {
                rival: own.difference(product.row, rival)
                for rival in RIVALS
                if rival in own.names and rival != product.row
            }
            for one, own in bootstraps.items()
        },
        shares={name: bootstraps[measure].ratio(name, RowName.TEACHER) for name in bootstraps[measure].names},
    )


def _training_mean(baselines: Mapping[RowName, Head]) -> Tensor | None:
    if RowName.MEAN not in baselines:
        return None
    # the mean predictor says the same of every sentence
    head = baselines[RowName.MEAN]
    return align(head, np.zeros((1, head.student_dim), dtype=np.float32))[0]


def _confidence(artifact: Artifact, test: EvaluationSet, found: np.ndarray) -> ConfidenceFigures | None:
    if artifact.confidence is None:
        return None
    told = align(artifact.confidence, test.queries.student).numpy()
    return confidence_figures(told, found)


def _projection(test: EvaluationSet, vectors: Mapping[RowName, RowVectors], product: Product) -> Projection:
    return Projection(
        aligned=vectors[product.row].unit[:PROJECTED].clone(),
        teacher=vectors[RowName.TEACHER].unit[:PROJECTED].clone(),
        texts=None if test.queries.texts is None else tuple(test.queries.texts[:PROJECTED]),
        groups=None if test.groups is None else tuple(map(str, test.groups[:PROJECTED])),
    )
