import dataclasses
import logging
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch

from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.metrics.alignment import overlap_at_k
from alignkit.pairs.base import Pairs
from alignkit.pairs.demo import load_demo
from alignkit.training import confidence_fit
from alignkit.training.confidence_fit import fit_confidence


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture(scope="module")
def kept(demo):
    return ridge(demo)


def ridge(demo):
    head = LinearHead(demo.train.student_dim, demo.train.teacher_dim)
    head.solve(TensorBatches(as_float(demo.train.student), as_float(demo.train.teacher)))
    return head.eval().requires_grad_(False)


def as_float(vectors):
    return torch.from_numpy(np.array(vectors, dtype=np.float32))


def some(pairs, count):
    fields = {field.name: getattr(pairs, field.name) for field in dataclasses.fields(Pairs)}
    return Pairs(**{name: value[:count] if value is not None else None for name, value in fields.items()})


@pytest.mark.parametrize("student", ["two_layer", "static"])
def test_it_picks_the_worst_queries_better_than_chance(student):
    demo = load_demo(student)
    kept = ridge(demo)
    told = fit_confidence(kept, demo)(as_float(demo.test.student))
    found = overlap_at_k(kept(as_float(demo.test.student)), as_float(demo.test.teacher))
    correlation = scipy.stats.spearmanr(told, found)
    assert correlation.statistic > 0.1 and correlation.pvalue < 0.001
    assert float(told.mean()) == pytest.approx(float(found.mean()), abs=0.08)


def test_the_test_split_is_not_looked_at(demo, kept):
    spoilt = dataclasses.replace(demo, test=some(demo.validation, 30))
    first, second = (fit_confidence(kept, splits).state_dict() for splits in (demo, spoilt))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_learned_is_the_share_among_train_and_validation(demo, kept, monkeypatch):
    seen = {}
    own = confidence_fit.ConfidenceEstimate.fit
    monkeypatch.setattr(
        confidence_fit.ConfidenceEstimate,
        "fit",
        lambda self, *given: (seen.update(enumerate(given)), own(self, *given)),
    )
    fit_confidence(kept, demo)
    corpus = torch.nn.functional.normalize(as_float(np.concatenate([demo.train.teacher, demo.validation.teacher])))
    for row in (0, 57, 299):
        own_row = len(demo.train) + row
        hits = []
        for query in (corpus[own_row], kept(seen[0][row : row + 1])[0]):
            scores = corpus @ query
            scores[own_row] = -torch.inf
            hits.append(set(scores.topk(10).indices.tolist()))
        wanted, found = hits
        assert float(seen[1][row]) == pytest.approx(len(wanted & found) / 10)


def test_samples_of_large_splits_are_bounded_and_seeded(demo, kept, monkeypatch):
    monkeypatch.setattr(confidence_fit, "MOST_QUERIES", 150)
    monkeypatch.setattr(confidence_fit, "MOST_CORPUS", 400)
    fitted = partial(fit_confidence, kept, demo)
    weights = [fitted(seed=seed).score.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_fewer_sentences_are_compared_where_vectors_are_wide(demo, kept, monkeypatch):
    seen = {}
    monkeypatch.setattr(confidence_fit, "MOST_ELEMENTS", 1000 * demo.train.teacher_dim)
    own = confidence_fit.top_k
    monkeypatch.setattr(
        confidence_fit,
        "top_k",
        lambda query, corpus, *given, **how: seen.update(corpus=corpus) or own(query, corpus, *given, **how),
    )
    fit_confidence(kept, demo)
    assert len(seen["corpus"]) == 1000
    assert torch.equal(seen["corpus"][-300:], as_float(demo.validation.teacher))


def test_too_few_validation_pairs_are_said_and_nothing_is_learned(demo, kept, caplog):
    few = dataclasses.replace(demo, validation=some(demo.validation, 99))
    with caplog.at_level(logging.INFO, "alignkit"):
        assert fit_confidence(kept, few) is None
    assert "99 validation pairs are too few; expected at least 100" in caplog.text
