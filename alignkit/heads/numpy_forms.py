"""What saved heads do, for NumPy alone: a process that only embeds needs no torch, and starts seconds earlier.

To give a head a form, write what its `forward` does and name it in `FORMS`; without one, torch applies the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.heads.numpy_layers import Shapes, Weights, affine, gelu, layer_shapes, unit

Arguments = Mapping[str, Any]
KNOTS = 32  # of a confidence estimate


@dataclass(frozen=True)
class Form:
    """A kind of part in NumPy.

    Attributes:
        arguments: names of its constructor's arguments. With others, it may do something else.
        shapes: of all its weights.
        apply: its `forward` in evaluation mode, `(B, student_dim)` → `(B, teacher_dim)`, or `(B,)` for confidence.
        outputs: prefixes of its `output_layers`, the one with a bias first; none for what is no head.
    """

    arguments: frozenset[str]
    shapes: Callable[[Arguments], Shapes]
    apply: Callable[[Weights, Arguments, np.ndarray], np.ndarray]
    outputs: Callable[[Arguments], tuple[str, ...]] = lambda arguments: ()


def form_of(kind: str, arguments: Arguments, weights: Weights) -> Form | None:
    """The form of a part; None if it has none, or if anything about the part is not as its form expects.

    Args:
        kind: as `part_class` knows it.
        arguments: of its constructor.
        weights: its state dict.
    """
    form = FORMS.get(kind)
    if form is None or form.arguments != set(arguments):
        return None
    sizes = [value for name, value in arguments.items() if name in _SIZES and (name, value) != ("rank", None)]
    if not all(type(size) is int and size > 0 for size in sizes):
        return None
    # every layer has weights: no more of them are listed than there are
    if arguments.get("depth", 1) > len(weights):
        return None
    fits = form.shapes(arguments) == {name: array.shape for name, array in weights.items()}
    return form if fits and all(array.dtype == np.float32 for array in weights.values()) else None


def fold(form: Form, arguments: Arguments, weights: Weights, matrix: np.ndarray, offset: np.ndarray) -> Weights:
    """Weights of the head that gives `matrix · head(s) + offset`; see `heads.folding`.

    Args:
        form: of a head.
        arguments: of the head.
        weights: of the head.
        matrix: `(teacher_dim, teacher_dim)`.
        offset: `(teacher_dim,)`.
    """
    matrix, folded = matrix.astype(np.float64), dict(weights)
    for number, layer in enumerate(form.outputs(arguments)):
        weight = weights[f"{layer}.weight"]
        maps = matrix @ weight.reshape(-1, len(matrix), weight.shape[1])
        folded[f"{layer}.weight"] = maps.reshape(weight.shape).astype(np.float32)
        if (bias := weights.get(f"{layer}.bias")) is not None:
            turned = (bias.reshape(-1, len(matrix)) @ matrix.T).ravel()
            folded[f"{layer}.bias"] = (turned if number else turned + offset).astype(np.float32)
    return folded


def _linear_shapes(arguments: Arguments) -> Shapes:
    return layer_shapes("projection", arguments["student_dim"], arguments["teacher_dim"])


def _linear(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    return affine(weights, "projection", student)


def _low_rank_shapes(arguments: Arguments) -> Shapes:
    student, teacher, rank = (arguments[name] for name in ("student_dim", "teacher_dim", "rank"))
    rank = rank or min(student, teacher)
    return layer_shapes("down", student, rank, bias=False) | layer_shapes("up", rank, teacher)


def _low_rank(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    return affine(weights, "up", affine(weights, "down", student))


def _last(arguments: Arguments) -> str:
    return f"layers.{3 * arguments['depth']}"  # each layer is followed by its GELU and its dropout


def _mlp_shapes(arguments: Arguments) -> Shapes:
    student, teacher, hidden = (arguments[name] for name in ("student_dim", "teacher_dim", "hidden"))
    shapes: Shapes = {"standardise.mean": (student,), "standardise.scale": (), **layer_shapes("skip", student, teacher)}
    for number in range(arguments["depth"]):
        shapes |= layer_shapes(f"layers.{3 * number}", hidden if number else student, hidden)
    return shapes | layer_shapes(_last(arguments), hidden, teacher)


def _mlp(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    student = unit(student) if arguments["normalise"] else student
    student = hidden = (student - weights["standardise.mean"]) / weights["standardise.scale"]
    for number in range(arguments["depth"]):
        hidden = gelu(affine(weights, f"layers.{3 * number}", hidden))
    return affine(weights, "skip", student) + affine(weights, _last(arguments), hidden)


def _kernel_shapes(arguments: Arguments) -> Shapes:
    student, teacher, landmarks = (arguments[name] for name in ("student_dim", "teacher_dim", "landmarks"))
    return {
        **layer_shapes("stretch", student, student),
        **layer_shapes("places", student, landmarks),
        **layer_shapes("readout", landmarks, teacher),
        **layer_shapes("skip", student, teacher, bias=False),
    }


def _kernel(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    stretched = affine(weights, "stretch", unit(student))
    near = affine(weights, "places", stretched)
    near -= np.square(stretched).sum(axis=-1, keepdims=True) / 2
    return affine(weights, "readout", np.exp(near, out=near)) + affine(weights, "skip", stretched)


def _kernel_mlp_shapes(arguments: Arguments) -> Shapes:
    members = {"kernel": _kernel_shapes(arguments), "mlp": _mlp_shapes({**arguments, **_AN_MLP})}
    shapes = {f"{name}.{key}": shape for name, member in members.items() for key, shape in member.items()}
    return {**shapes, "kernel_length": (), "mlp_length": ()}


def _kernel_mlp(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    by_kernel = _kernel(_below(weights, "kernel."), arguments, student)
    by_mlp = _mlp(_below(weights, "mlp."), {**arguments, **_AN_MLP}, student)
    return by_kernel + by_mlp * (weights["kernel_length"] / weights["mlp_length"])


def _random_features_shapes(arguments: Arguments) -> Shapes:
    student, teacher, features = (arguments[name] for name in ("student_dim", "teacher_dim", "features"))
    return {
        **layer_shapes("waves", student, features),
        **layer_shapes("readout", features, teacher),
        **layer_shapes("skip", student, teacher, bias=False),
    }


def _random_features(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    student = unit(student)
    waves = affine(weights, "waves", student)
    return affine(weights, "readout", np.cos(waves, out=waves)) + affine(weights, "skip", student)


def _local_mixture_shapes(arguments: Arguments) -> Shapes:
    student, teacher, regions = (arguments[name] for name in ("student_dim", "teacher_dim", "regions"))
    corrections = layer_shapes("corrections", student, regions * teacher)
    return layer_shapes("router", student, regions) | layer_shapes("common", student, teacher) | corrections


def _local_mixture(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    student = unit(student)
    routed = affine(weights, "router", student)
    share = np.exp(routed - routed.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    shape = (len(student), arguments["regions"], arguments["teacher_dim"])
    corrections = affine(weights, "corrections", student).reshape(shape)
    return affine(weights, "common", student) + np.einsum("br,brd->bd", share, corrections)


def _confidence_shapes(arguments: Arguments) -> Shapes:
    student, anchors = arguments["student_dim"], arguments["anchors"]
    return {
        "references": (anchors, student),
        **layer_shapes("score", student + 3, 1),
        "knots": (KNOTS,),
        "shares": (KNOTS,),
    }


def _confidence(weights: Weights, arguments: Arguments, student: np.ndarray) -> np.ndarray:
    student, count = unit(student), min(10, arguments["anchors"])
    likeness = student @ weights["references"].T
    nearest = np.partition(likeness, likeness.shape[1] - count, axis=-1)[:, -count:]
    middle = student @ unit(weights["references"].mean(axis=0))
    traits = np.column_stack([student, nearest.max(axis=-1), nearest.mean(axis=-1), np.clip(middle, -1, 1)])
    score, knots, shares = affine(weights, "score", traits)[:, 0], weights["knots"], weights["shares"]
    right = np.clip(np.searchsorted(knots, score), 1, KNOTS - 1)
    low, high = knots[right - 1], knots[right]
    way = np.clip((score - low) / np.maximum(high - low, np.float32(1e-12)), 0, 1)
    return shares[right - 1] + way * (shares[right] - shares[right - 1])


def _below(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}


def _head(
    shapes: Callable[[Arguments], Shapes],
    apply: Callable[[Weights, Arguments, np.ndarray], np.ndarray],
    arguments: str,
    outputs: Callable[[Arguments], tuple[str, ...]],
) -> Form:
    return Form(frozenset(("student_dim", "teacher_dim", *arguments.split())), shapes, apply, outputs)


_AN_MLP: Arguments = {"depth": 1, "normalise": True}
_SIZES = {"student_dim", "teacher_dim", "hidden", "depth", "landmarks", "features", "regions", "anchors", "rank"}
FORMS: Mapping[str, Form] = {
    "linear": _head(_linear_shapes, _linear, "ridge_lambda", lambda _: ("projection",)),
    "orthogonal": _head(_linear_shapes, _linear, "", lambda _: ("projection",)),
    "low_rank": _head(_low_rank_shapes, _low_rank, "rank energy ridge_lambda", lambda _: ("up",)),
    "mlp": _head(
        _mlp_shapes, _mlp, "hidden depth dropout ridge_lambda normalise", lambda given: ("skip", _last(given))
    ),
    "residual": _head(
        _mlp_shapes,
        _mlp,
        "hidden depth dropout train_skip ridge_lambda normalise",
        lambda given: ("skip", _last(given)),
    ),
    "kernel": _head(
        _kernel_shapes, _kernel, "landmarks bandwidth ridge_lambda", lambda _: ("readout", "skip")
    ),
    "kernel_mlp": _head(
        _kernel_mlp_shapes,
        _kernel_mlp,
        "landmarks hidden dropout bandwidth ridge_lambda",
        lambda _: ("kernel.readout", "kernel.skip", "mlp.skip", f"mlp.{_last(_AN_MLP)}"),
    ),
    "random_features": _head(
        _random_features_shapes,
        _random_features,
        "features bandwidth ridge_lambda seed",
        lambda _: ("readout", "skip"),
    ),
    "local_mixture": _head(
        _local_mixture_shapes,
        _local_mixture,
        "regions softness ridge_lambda seed",
        lambda _: ("common", "corrections"),
    ),
    "confidence": Form(frozenset({"student_dim", "anchors"}), _confidence_shapes, _confidence),
}  # fmt: skip
