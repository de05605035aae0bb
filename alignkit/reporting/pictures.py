"""The pictures of the report: for each the question that it answers, and the answer in words."""

from __future__ import annotations

import numpy as np

from alignkit.evaluation.columns import Column
from alignkit.evaluation.comparison import Comparison
from alignkit.evaluation.confidence_figures import confidence_words
from alignkit.evaluation.outcome import Evaluation
from alignkit.reporting import plots
from alignkit.reporting.figure_tables import number


def draw(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The plots: question, SVG, answer in words."""
    comparison = evaluation.comparison
    rows, measure = comparison.rows, Column(comparison.measure).heading
    aligned = rows["aligned"]
    drawn = [
        (
            "Are the vectors nearer to the teacher's than before?",
            plots.cosine_plot(comparison.cosines),
            f"Before, the mean cosine is {number(rows['raw']['cosine_mean'])}; after, "
            f"{number(aligned['cosine_mean'])}, and 19 of 20 texts are above {number(aligned['cosine_p05'])}."
            + (f" Ignoring the text altogether gives {number(rows['mean']['cosine_mean'])}." if "mean" in rows else ""),
        )
    ]
    curves, ylabel = recall_curves(comparison)
    drawn.append(
        (
            "How much is found when more hits are looked at?",
            plots.recall_plot(curves, ylabel),
            _recall_words(curves["aligned"], comparison.meta["cascade"]),
        )
    )
    timed = {name: row["total_ms"] for name, row in evaluation.times.items() if row["total_ms"] is not None}
    # nobody would choose a random projection: it would only press the others together
    total_ms = {name: milliseconds for name, milliseconds in timed.items() if name != "raw"}
    if total_ms:
        quality = {name: rows[name][comparison.measure] or 0.0 for name in total_ms}
        drawn.append(
            (
                "What does a query cost for that quality?",
                plots.frontier_plot(quality, total_ms, measure),
                "Up and to the left is better; no row is both quicker and better than those on the grey line. "
                "One query at a time, head and search on this machine's CPU. Where the models ran: "
                + "; ".join(f"{name}: {said}" for name, said in evaluation.about.get("timed", {}).items())
                + ".",
            )
        )
    plane = plots.map_plot(comparison)
    if plane is not None:
        drawn.append(
            (
                "Does the aligned space look like the teacher's?",
                plane,
                "Each grey line joins the two vectors of one text. Blue points drawn to the middle are texts that the "
                "head makes too average; two dimensions show a small part of the space.",
            )
        )
    sure = comparison.meta.get("confidence")
    if sure is not None and sure["routing"]:
        first, *rest = confidence_words(sure)
        drawn += [
            ("Does it pay to send unsure queries to the teacher?", plots.routing_plot(sure["routing"]), first),
            (
                "Does the head know how much it finds?",
                plots.reliability_plot(sure["reliability"]),
                " ".join(rest)
                or "A point is a tenth of the queries, the least sure to the left; on the line it found what was told.",
            ),
        ]
    if evaluation.curve is not None:
        ceiling = rows["teacher"][comparison.measure] or 1.0
        drawn.append(
            (
                "Would more training pairs help?",
                plots.learning_plot(evaluation.curve, measure, ceiling),
                curve_words(evaluation),
            )
        )
    return drawn


def _recall_words(curve: np.ndarray, cascade: str) -> str:
    """What the head finds among the first ten, and among those that the cascade hands to the teacher."""
    handed = min(int(cascade.split("@")[1]), len(curve))
    said = f"The first ten hits through the head hold {curve[min(9, len(curve) - 1)]:.0%} of what there is to find"
    if handed <= 10:
        return f"{said}: {cascade}, in which the teacher puts them in order, can get no further."
    return (
        f"{said}, the first {handed} hold {curve[handed - 1]:.0%}: {cascade}, in which the teacher puts those in "
        "order, can get no further."
    )


def recall_curves(comparison: Comparison) -> tuple[dict[str, np.ndarray], str]:
    """Recall at every depth, of what is judged relevant or else of the teacher's first ten."""
    rankings = {name: comparison.rankings[name] for name in comparison.rows if not name.startswith("cascade")}
    curves: dict[str, np.ndarray] = {}
    for name, ranking in rankings.items():
        judged = comparison.test.judge(ranking.rows)
        if judged is None or comparison.measure == "overlap@10":
            break
        hits = np.cumsum(judged.gains > 0, axis=1)[judged.relevant > 0]
        curves[name] = (hits / judged.relevant[judged.relevant > 0][:, None]).mean(axis=0)
    if curves:
        return curves, "share of relevant texts found"
    wanted = rankings["teacher"].rows[:, :10]
    for name, ranking in rankings.items():
        found = _isin_rows(ranking.rows, wanted)
        curves[name] = (np.cumsum(found, axis=1) / np.maximum((wanted >= 0).sum(axis=1, keepdims=True), 1)).mean(axis=0)
    return curves, "share of the teacher's first ten found"


def _isin_rows(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return sum(((rows == column[:, None]) & (rows >= 0) for column in wanted.T), np.zeros(rows.shape, dtype=bool))


def curve_words(evaluation: Evaluation) -> str:
    """What more training pairs would probably bring; empty where no curve was asked for."""
    curve, measure = evaluation.curve, Column(evaluation.comparison.measure).heading
    if curve is None:
        return ""
    said = f"A closed-form head reaches {measure} {curve.figures[-1]:.3f} with all {curve.pairs[-1]:,} training pairs"
    if len(curve.pairs) > 1:
        said += f" and {curve.figures[-2]:.3f} with half of them"
    if curve.forecast is not None:
        gain = curve.forecast - curve.figures[-1]
        said += f". Twice as many would probably bring {gain:+.3f}, if the curve goes on flattening as it did: " + (
            "worth collecting." if gain >= 0.01 else "more pairs are not what is missing."
        )
    else:
        said += "."
    return said
