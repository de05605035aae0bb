"""Plots that each answer one question, as SVG for one self-contained page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from alignkit.evaluation.columns import Column
from alignkit.evaluation.confidence_figures import Routed, Tenth
from alignkit.evaluation.learning_curve import LearningCurve
from alignkit.evaluation.recall_curves import RecallCurves
from alignkit.evaluation.result import Projection
from alignkit.evaluation.table_rows import RowName
from alignkit.language.speaking import say
from alignkit.reporting.drawing import axes_of, drawn, svg_of

# Okabe and Ito's palette, and two more for a trained student, told apart by colour-blind readers too
COLORS = {
    RowName.TEACHER: "#000000",
    RowName.TUNED: "#7D2AE8",
    RowName.TUNED_PLAIN: "#7D2AE8",
    RowName.TUNED_BOTH: "#56B4E9",
    RowName.ALIGNED: "#0072B2",
    RowName.ALIGNED_PLAIN: "#0072B2",
    RowName.ALIGNED_BOTH: "#56B4E9",
    RowName.STUDENT_TUNED: "#882255",
    RowName.STUDENT: "#D55E00",
    RowName.CASCADE: "#009E73",
    RowName.RIDGE: "#CC79A7",
    RowName.RAW: "#999999",
    RowName.MEAN: "#E69F00",
}
DASHED = {RowName.TUNED_PLAIN, RowName.ALIGNED_PLAIN, RowName.RIDGE, RowName.RAW, RowName.MEAN}
MAP_POINTS, LINKED_POINTS = 600, 150


def _style(name: RowName, product: RowName) -> dict[str, Any]:
    return {
        "color": COLORS[name],
        "linestyle": "--" if name in DASHED else "-",
        "linewidth": 2.4 if name == product else 1.5,
    }


@drawn
def cosine_plot(cosines: Mapping[RowName, np.ndarray], product: RowName) -> str:
    """Cosines with the teacher before and after, the floor marked."""
    axes = axes_of(say("cosine with the teacher's vector of the same text"), say("share of texts"))
    low = min(float(values.min()) for values in cosines.values())
    bins = np.linspace(min(low, 0.0), 1.0, 61)
    labels = {RowName.RAW: say("before (raw)"), RowName.RIDGE: RowName.RIDGE.value}
    # what is drawn later lies above: the product last
    labels |= {RowName.ALIGNED: say("the head alone (aligned)")} | {product: say("after ({row})", row=product.value)}
    for name, label in labels.items():
        if name in cosines:
            weights = np.full(len(cosines[name]), 1 / len(cosines[name]))
            filled = name == product
            style = {"alpha": 0.35} if filled else {}
            axes.hist(cosines[name], bins=bins.tolist(), weights=weights, histtype="stepfilled" if filled else "step",
                      color=COLORS[name], label=label, linewidth=1.5, **style)  # type: ignore[arg-type]  # fmt: skip
    if RowName.MEAN in cosines:
        floor = float(cosines[RowName.MEAN].mean())
        axes.axvline(
            floor,
            color=COLORS[RowName.MEAN],
            linestyle="--",
            label=say("floor: the mean vector ({cosine:.2f})", cosine=floor),
        )
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return svg_of(axes)


@drawn
def recall_plot(recall: RecallCurves, product: RowName) -> str:
    """Recall@k of all rows."""
    curves = recall.by_row
    found = "share of relevant texts found" if recall.of_relevant else "share of the teacher's first ten found"
    axes = axes_of(say("k: how many hits are looked at"), say(found))
    for name, curve in curves.items():
        axes.plot(np.arange(1, len(curve) + 1), curve, label=name.value, **_style(name, product))
    axes.set_xscale("log")
    axes.set_xticks(ticks := [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= max(map(len, curves.values()))])
    axes.set_xticklabels([str(k) for k in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg_of(axes)


@drawn
def frontier_plot(
    quality: Mapping[RowName, float],
    total_ms: Mapping[RowName, float],
    measure: Column,
    label: Callable[[RowName], str] = str,
) -> str:
    """Quality against the time of a query; the line joins the rows that no other beats in both."""
    axes = axes_of(say("time of a query, ms"), say(measure.heading))
    front = frontier(quality, total_ms)
    axes.plot(
        [total_ms[name] for name in front], [quality[name] for name in front],
        drawstyle="steps-post", color="#bbbbbb", linewidth=1.2, zorder=1,
    )  # fmt: skip
    for names in _together(quality, total_ms):
        spot = total_ms[names[0]], quality[names[0]]
        for name in names:
            axes.plot([total_ms[name]], [quality[name]], "o", color=COLORS[name], markersize=9)
        axes.annotate(", ".join(map(label, names)), spot, xytext=(8, 6), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.margins(x=0.35, y=0.2)
    axes.set_xticks(ticks := _log_ticks(*axes.get_xlim()))
    axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    return svg_of(axes)


def _together(quality: Mapping[RowName, float], total_ms: Mapping[RowName, float]) -> list[list[RowName]]:
    """Rows whose points lie on one another, so that they share a label: rows with one student take as long."""
    height = max(quality.values()) - min(quality.values()) or 1.0
    spots: list[list[RowName]] = []
    for name in total_ms:
        for names in spots:
            first = names[0]
            near = abs(np.log(total_ms[name] / total_ms[first])) < 0.1
            if near and abs(quality[name] - quality[first]) < 0.06 * height:
                names.append(name)
                break
        else:
            spots.append([name])
    return spots


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range, more of them in one that is narrow.

    >>> _log_ticks(0.9, 110.0), _log_ticks(9.0, 60.0)
    ([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0], [10.0, 15.0, 20.0, 30.0, 40.0, 50.0])
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 5, 7)
    return [tick for decade in decades for step in steps if low <= (tick := float(f"{step}e{decade}")) <= high]


def frontier(quality: Mapping[RowName, float], total_ms: Mapping[RowName, float]) -> list[RowName]:
    """The Pareto frontier: the rows that no other beats in as little time, the quickest first.

    >>> quality = {RowName.STUDENT: 0.5, RowName.RIDGE: 0.4, RowName.TEACHER: 0.9}
    >>> [str(row) for row in frontier(quality, {RowName.STUDENT: 1.0, RowName.RIDGE: 2.0, RowName.TEACHER: 3.0})]
    ['student', 'teacher']
    """
    front: list[RowName] = []
    for name in sorted(total_ms, key=lambda name: (total_ms[name], -quality[name])):
        if not front or quality[name] > quality[front[-1]]:
            front.append(name)
    return front


@drawn
def map_plot(shown: Projection, product: RowName) -> str | None:
    """Teacher and aligned vectors on the two directions in which the teacher's spread most; `None` without a plane."""
    teacher, aligned = shown.teacher[:MAP_POINTS], shown.aligned[:MAP_POINTS]
    texts, width = teacher.shape
    if texts < 3 or width < 2:
        return None
    axes = axes_of(say("first principal direction of the teacher"), say("second"))
    mean = teacher.mean(dim=0)
    directions = torch.linalg.svd(teacher - mean, full_matrices=False).Vh[:2]
    there, here = (((side - mean) @ directions.T).numpy() for side in (teacher, aligned))
    # one line with gaps, which is drawn at once
    gaps = np.full_like(there[:LINKED_POINTS], np.nan)
    joined = np.stack([there[:LINKED_POINTS], here[:LINKED_POINTS], gaps], axis=1).reshape(-1, 2)
    axes.plot(joined[:, 0], joined[:, 1], color="#bbbbbb", linewidth=0.5, zorder=1)
    axes.scatter(there[:, 0], there[:, 1], s=12, color=COLORS[RowName.TEACHER], label=say("teacher"), zorder=2)
    axes.scatter(here[:, 0], here[:, 1], s=12, color=COLORS[product], label=product.value, zorder=3, alpha=0.8)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg_of(axes)


@drawn
def routing_plot(routing: Sequence[Routed]) -> str:
    """Overlap of all queries against the share that is sent to the teacher: the least sure, or any."""
    axes = axes_of(say("share of queries sent to the teacher"), say("overlap@10 of all queries"))
    shares = [one.share for one in routing]
    axes.plot(
        shares, [one.overlap for one in routing], "o-", color=COLORS[RowName.ALIGNED], label=say("the least sure")
    )
    axes.plot(shares, [one.random for one in routing], "--", color=COLORS[RowName.RAW], label=say("as many at random"))
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return svg_of(axes)


@drawn
def reliability_plot(reliability: Sequence[Tenth]) -> str:
    """What was found against what was expected, by tenths of the queries."""
    axes = axes_of(say("confidence: expected overlap@10"), say("overlap@10 found"))
    axes.plot([0, 1], [0, 1], "--", color=COLORS[RowName.RAW], linewidth=1)
    points = [(one.told, one.true) for one in reliability]
    axes.plot(*zip(*points, strict=True), "o-", color=COLORS[RowName.ALIGNED])
    low = max(0.0, min(map(min, points)) - 0.1)
    axes.set(xlim=(low, 1.0), ylim=(low, 1.0))
    return svg_of(axes)


@drawn
def learning_plot(curve: LearningCurve, measure: Column, ceiling: float) -> str:
    """The measure against the number of training pairs, with what twice as many would probably bring."""
    axes = axes_of(say("training pairs"), say(measure.heading))
    axes.plot(curve.pairs, curve.figures, "o-", color=COLORS[RowName.ALIGNED], label=say("closed form"))
    if curve.forecast is not None:
        axes.plot(
            [curve.pairs[-1], 2 * curve.pairs[-1]], [curve.figures[-1], curve.forecast],
            "o:", color=COLORS[RowName.ALIGNED], markerfacecolor="white", label=say("twice as many, probably"),
        )  # fmt: skip
    axes.axhline(ceiling, color=COLORS[RowName.TEACHER], linestyle="--", linewidth=1, label=say("teacher"))
    axes.set_xscale("log", base=2)
    ticks = [*curve.pairs, *([2 * curve.pairs[-1]] if curve.forecast is not None else [])]
    axes.set_xticks(ticks)
    axes.set_xticklabels([f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return svg_of(axes)
