"""A teacher's vectors get length 1 where they enter a set, and no room that measures or reports scales them again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import alignkit
from alignkit.artifact import Artifact
from alignkit.evaluation.comparison import compare
from alignkit.heads.linear import LinearHead

PACKAGE = Path(alignkit.__file__).parent
ROOMS = ("evaluation", "reporting", "runs", "estimator")
SCALING = {"l2_normalize", "normalize", "unit_rows", "norm"}


@pytest.mark.parametrize(
    "path", [path for room in ROOMS for path in sorted((PACKAGE / room).glob("*.py"))], ids=lambda path: path.stem
)
def test_no_set_is_scaled_again(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SCALING:
            given = ast.unparse(node.args[0])
            assert ".queries.teacher" not in given and ".corpus.teacher" not in given, f"line {node.lineno}"


@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_vectors_of_any_length_give_the_same_figures(make_retrieval, scale):
    test = make_retrieval(queries=40, corpus=90)
    longer = type(test.corpus)(test.corpus.student, test.corpus.teacher * scale, test.corpus.texts)
    asked = type(test.queries)(test.queries.student, test.queries.teacher / scale, test.queries.texts)
    scaled = type(test)(asked, longer, test.itself, test.qrels, origin=test.origin)
    artifact = Artifact({"query_head": LinearHead(16, 24).requires_grad_(False)})
    first, other = (compare(one, artifact, resamples=20) for one in (test, scaled))
    for name, row in first.rows.items():
        assert row.to_json() == pytest.approx(other.rows[name].to_json(), abs=1e-5)
