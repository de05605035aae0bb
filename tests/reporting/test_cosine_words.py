"""Vectors of chat models share a large mean, so that every cosine is high: the report says how to read them."""

import dataclasses

import numpy as np
import pytest
import torch
from measured_sets import ridge_of

from alignkit.artifact import Artifact
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.floor_heads import mean_head
from alignkit.language.speaking import speaking
from alignkit.reporting.console import console_words
from alignkit.reporting.metrics_file import meta_json
from alignkit.reporting.remarks import cosine_words
from alignkit.vectors import l2_normalize


@pytest.fixture(scope="module")
def measured():
    """Of a teacher whose vectors share a mean of some length: the comparison, with and without the row `mean`."""

    def measure(make_retrieval, shared, with_mean=True):
        made = make_retrieval(queries=60, corpus=120, student_noise=0.3)
        mean = np.zeros(24, dtype=np.float32)
        mean[3] = shared

        def moved(side):
            # a set's teacher vectors have length 1
            return dataclasses.replace(side, teacher=l2_normalize(torch.tensor(side.teacher + mean)).numpy())

        test = dataclasses.replace(made, queries=moved(made.queries), corpus=moved(made.corpus))
        head = ridge_of(test.corpus.student, test.corpus.teacher)
        blind = mean_head(head.student_dim, torch.tensor(test.corpus.teacher).mean(dim=0))
        return compare(test, Artifact({"query_head": head}), {"ridge": head, **({"mean": blind} if with_mean else {})})

    return measure


def test_a_shared_mean_is_said_with_what_it_does_to_each_cosine(measured, make_retrieval):
    result = measured(make_retrieval, shared=12.0)
    unit = np.asarray(result_teacher(make_retrieval, 12.0))
    random = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)].mean()
    (line,) = cosine_words(result)
    rows = {name.value: row.to_json() for name, row in result.rows.items()}
    assert f"two different texts have a cosine of {random:.2f} there" in line
    assert f"and mean, one vector for every text, has {rows['mean']['cosine_mean']:.2f}" in line
    assert f"so the {rows['aligned']['cosine_mean']:.2f} of aligned says little" in line
    assert f"without the mean it is {rows['aligned']['cosine_centered_mean']:.2f} (centred)" in line
    assert f"  - {line}" in list(console_words(result))
    assert line in meta_json(result)["notes"]
    assert result.health.to_json()["random_cosine"]["teacher"] == pytest.approx(random, abs=1e-6)
    with speaking("zh"):
        assert f"{random:.2f}" in cosine_words(result)[0]
        assert "two different" not in cosine_words(result)[0]


def result_teacher(make_retrieval, shared):
    mean = np.zeros(24)
    mean[3] = shared
    queries = make_retrieval(queries=60, corpus=120, student_noise=0.3).queries.teacher + mean
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def test_without_the_row_mean_it_is_said_all_the_same(measured, make_retrieval):
    (line,) = cosine_words(measured(make_retrieval, shared=12.0, with_mean=False))
    assert line.endswith(", so a high cosine says little; go by what is found")


def test_of_a_model_made_for_search_nothing_is_said(measured, make_retrieval):
    assert cosine_words(measured(make_retrieval, shared=0.0)) == []
