"""How a head was trained, as the report tells it."""

from __future__ import annotations

import dataclasses
import json

from alignkit.evaluation.comparison import compare
from alignkit.evaluation.result import About
from alignkit.evaluation.training_history import Cost, TrainingHistory
from alignkit.metrics.intervals import Interval
from alignkit.reporting.metrics_file import meta_json
from alignkit.reporting.training_words import training_words
from alignkit.selection.record import Selection, Try

SELECTION = Selection(
    name="linear",
    target="recall@10",
    tries=(
        Try("linear", 0.1, 1_000, 2_000, 0.25, quality=Interval(0.5, 0.4, 0.6)),
        Try("mlp", 3.0, 9_000, 18_000, 2.0, 0.6, 0.4, Interval(0.52, 0.42, 0.62), Interval(0.02, -0.01, 0.05)),
        Try("random_features", 1_234.0, 9_000, 18_000),
    ),
    reason="nothing is surely better",
    queries=300,
)
HISTORY = TrainingHistory(
    model="linear", chosen={"lambda": 0.123456}, best_epoch=3, epochs=5, ended="trainer.max_time", refitted=True,
    recipe={"lr": 0.001, "schedule": None}, cost=Cost(1_000, 2_000_000), selection=SELECTION.to_json(),
    device="CPU with 1 thread", validation={"val/loss": 0.5}, seed=7, seconds={"loading": 0.04, "training": 12.0},
)  # fmt: skip


def test_a_selection_reads_back_what_it_wrote():
    assert Selection.from_json(json.loads(json.dumps(SELECTION.to_json()))) == SELECTION


def test_the_lines_of_a_training(demo_set, demo_artifact):
    about = About(training=HISTORY, pairs={"train": 2_700, "validation": 300}, versions={"torch": "2"})
    result = dataclasses.replace(compare(demo_set, demo_artifact, resamples=10), about=about)
    lines = training_words(result, HISTORY)
    assert lines[:7] == [
        "2,700 training and 300 validation pairs",
        "head: linear; 1,000 parameters, 2.00 Mflop a query; chosen on validation: lambda = 0.1235",
        "chosen by model=auto on 300 validation sentences: nothing is surely better",
        "tried: linear, recall@10 0.500 (95% interval 0.400 to 0.600), 1,000 parameters, 0.2 s",
        "tried: mlp, 0.600 on held-out texts, 0.400 on held-out clusters, "
        "recall@10 0.520 (95% interval 0.420 to 0.620), gain over ridge +0.020 (95% interval -0.010 "
        "to +0.050), 9,000 parameters, 2.0 s",
        "not tried: random_features, expected to take about 1,234 s",
        "kept: epoch 3; training ended after 5 epochs: trainer.max_time, then fitted once more on train + validation",
    ]
    assert "student: all-MiniLM-L6-v2, first 2 layers" in lines and "seed 7; torch 2" in lines
    meta = meta_json(result)
    assert meta["training"] == lines and meta["selection"] == SELECTION.to_json() and meta["cost"]["parameters"] == 1000
    assert meta["seconds"] == {"loading": 0.04, "training": 12.0} and meta["pairs"]["train"] == 2_700
