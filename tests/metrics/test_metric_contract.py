"""Every public metric checks the shapes that its docstring states; a new one is tested the moment it is written."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import alignkit.metrics
from alignkit.errors import DataError

MODULES = [
    importlib.import_module(f"alignkit.metrics.{path.stem}")
    for path in sorted(Path(alignkit.metrics.__file__).parent.glob("[!_]*.py"))
]
SHAPE = re.compile(r"^\s*(\w+)(?: [^:]*)?:[^`]*?`\(([^()]+)\)`", re.MULTILINE)
SIZES = {"N": 6, "R": 9, "M": 7, "D": 5, "D1": 4, "D2": 3, "P": 6, "Q": 6, "K": 3, "L": 4, "C": 8, "F": 2}


def takes_arrays(function):
    return re.search("Tensor|ndarray", str(inspect.signature(function).replace(return_annotation=None)))


FUNCTIONS = [
    function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_") and takes_arrays(function)
]


def axes_of(function):
    """Parameter → letters of its axes, as `Args:` states them."""
    stated = inspect.getdoc(function).partition("Args:")[2].partition("\n\n")[0]
    axes = {name: [letter for letter in letters.split(", ") if letter] for name, letters in SHAPE.findall(stated)}
    return {name: [letter.rstrip(",") for letter in letters] for name, letters in axes.items()}


def make(parameter, shape):
    if "Sequence" in parameter.annotation:
        return np.zeros(shape, dtype=np.int64)
    if parameter.name == "own":
        return torch.zeros(shape, dtype=torch.int64)
    if "Tensor" in parameter.annotation:
        return torch.randn(shape, generator=torch.Generator().manual_seed(len(parameter.name)))
    whole = parameter.name in {"groups", "exclude"} or "found" in parameter.name
    return np.zeros(shape, dtype=np.int64) if whole else np.random.default_rng(0).random(shape)


def arguments(function, changed=None, change=None):
    """Arrays as the docstring states them, one of them with its shape changed, and small numbers for the rest."""
    given, axes = {}, axes_of(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if name in axes:
            shape = [SIZES[letter] for letter in axes[name]]
            given[name] = make(parameter, change(shape) if name == changed else shape)
        elif parameter.default is parameter.empty:
            given[name] = SIZES["C"]
    return given


def changes():
    """Every array with an axis more, and every axis that another array shares with another size."""
    for function in FUNCTIONS:
        axes = axes_of(function)
        for name, letters in axes.items():
            yield pytest.param(function, name, lambda shape: [*shape, 2], id=f"{function.__name__}-{name}-axis")
            others = {letter for other, of in axes.items() if other != name for letter in of}
            for place, letter in enumerate(letters):
                if letter in others:
                    yield pytest.param(
                        function,
                        name,
                        lambda shape, place=place: [size + (at == place) for at, size in enumerate(shape)],
                        id=f"{function.__name__}-{name}-{letter}",
                    )


def test_all_metrics_are_found():
    names = {function.__name__ for function in FUNCTIONS}
    assert {"r2", "centered_cosine", "linear_cka", "ranking_overlap", "bootstrap_means"} <= names


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_its_docstring_states_the_shape_of_every_array_and_these_are_taken(function):
    judged = {name for name, one in inspect.signature(function).parameters.items() if one.annotation == "Judged"}
    arrays = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if re.search("Tensor|ndarray", parameter.annotation)
    }
    assert arrays - judged <= set(axes_of(function))
    function(**arguments(function))


@pytest.mark.parametrize("function, name, change", list(changes()))
def test_other_shapes_are_refused_by_name(function, name, change):
    given = arguments(function, name, change)
    with pytest.raises(
        DataError, match=rf"expected .*\b{name}\b.* to have the (same )?shapes? \(.*but got \("
    ) as error:
        function(**given)
    assert "\n" not in str(error.value)
    assert str(tuple(given[name].shape)) in str(error.value)


def test_what_is_graded_by_a_wrong_number_of_queries_is_refused():
    from alignkit.metrics.retrieval import Judged, Qrels

    qrels = Qrels.of([0], [1], [1], shape=(2, 3))
    with pytest.raises(DataError, match=r"queries and found to have the shapes \(Q,\) and \(Q, K\), but got"):
        qrels.judge(np.zeros((3, 2), dtype=np.int64))
    with pytest.raises(DataError, match=r"queries, rows and grades to have the same shape \(J,\)"):
        Qrels.of([0, 1], [1], [1], shape=(2, 3))
    with pytest.raises(DataError, match=r"gains, ideal and relevant"):
        Judged(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(2, dtype=np.int64))


def test_columns_of_unequal_length_have_no_intervals():
    from alignkit.metrics.intervals import PairedBootstrap

    with pytest.raises(
        DataError, match=r"aligned and teacher to have the same shape \(Q,\), but got \(3,\) and \(4,\)"
    ):
        PairedBootstrap({"aligned": np.zeros(3), "teacher": np.zeros(4)})
    with pytest.raises(DataError, match=r"groups to have"):
        PairedBootstrap({"aligned": np.zeros(3)}, groups=np.zeros(2))


@pytest.mark.parametrize("wrong", ["rows", "aligned", "teacher"])
def test_a_batch_that_does_not_fit_is_refused_and_not_collected(wrong):
    from alignkit.metrics.collected import AlignmentMetric

    metric = AlignmentMetric(torch.zeros(5), count=6)
    batch = {"rows": torch.arange(4), "aligned": torch.ones(4, 5), "teacher": torch.ones(4, 5)}
    batch[wrong] = batch[wrong][:3]
    with pytest.raises(DataError, match="rows, aligned, teacher and teacher_mean to have"):
        metric.update(**batch)
    assert metric.rows == []
