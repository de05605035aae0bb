"""The report of an evaluation: `metrics.json`, `alignment_metrics.csv`, `alignment_report.md` and `report.html`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.evaluation import examples, plots
from alignkit.evaluation.comparison import Comparison
from alignkit.evaluation.confidence import confidence_words
from alignkit.evaluation.fitting import model_name
from alignkit.evaluation.glossary import COLUMNS, LIMITS, MEANINGS, row_of
from alignkit.evaluation.learning_curve import LearningCurve
from alignkit.evaluation.tables import csv_text, json_text, number
from alignkit.evaluation.timing import Times
from alignkit.files import write_whole
from alignkit.metrics.alignment import Row

TEMPLATES = Path(__file__).parent / "templates"
DATA_KINDS = {"True": "real", "False": "synthetic"}
TIME_COLUMNS = {"embed_ms": "embed ms", "head_ms": "head ms", "search_ms": "search ms"}


@dataclass(frozen=True)
class Evaluation:
    """A comparison and what was measured beside it.

    Attributes:
        comparison: rows, intervals, verdict.
        times: row → milliseconds of a query.
        curve: quality against the number of training pairs, where it was asked for.
        about: plain JSON values: `head` (where it came from), `leaks` (a sentence), and what else belongs in `meta`.
        other_splits: split → rows, for the CSV and for comparison in the report (the training split's).
    """

    comparison: Comparison
    times: Mapping[str, Times] = field(default_factory=dict)
    curve: LearningCurve | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    other_splits: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, Row]:
        """The table: figures and times by row."""
        return {name: {**row, **self.times.get(name, {})} for name, row in self.comparison.rows.items()}

    @property
    def meta(self) -> dict[str, Any]:
        """What belongs beside the rows in `metrics.json`."""
        curve = {"learning_curve": self.curve.to_json()} if self.curve else {}
        return {**self.comparison.meta, **self.about, **curve}


def write_report(evaluation: Evaluation, folder: Path, *, html: bool = True) -> None:
    """Write the four files; `metrics.json` last, so that where it is the others are.

    Args:
        evaluation: what to report.
        folder: made where it is missing.
        html: also the page with plots (matplotlib is imported for it).

    Raises:
        AlignkitError: if a file cannot be written.
    """
    words = report_words(evaluation)
    write_whole(folder / "alignment_report.md", render("report.md.j2", **words))
    write_whole(
        folder / "alignment_metrics.csv",
        csv_text({"test": evaluation.rows} | dict(evaluation.other_splits)),
        "utf-8-sig",
    )
    if html:
        write_whole(folder / "report.html", render("report.html.j2", plots=draw(evaluation), **words))
    write_whole(folder / "metrics.json", json_text(evaluation.rows, evaluation.meta))


def render(template: str, **values: Any) -> str:
    """Fill a template of this room; in HTML everything is escaped that is not marked as safe."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=lambda name: bool(name and ".html" in name),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"figure": number, "cell": _markdown_cell}
    return environment


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def report_words(evaluation: Evaluation) -> dict[str, Any]:
    """All that both templates say, as plain values."""
    comparison = evaluation.comparison
    meta, rows = evaluation.meta, evaluation.rows
    present = [key for key in COLUMNS if any(row.get(key) is not None for row in rows.values())]
    alignment = [key for key in present if key not in comparison.figures and key != "human_spearman"]
    retrieval = [key for key in present if key not in alignment]
    groups, group_count = examples.worst_groups(comparison)
    return {
        "meta": meta,
        "verdict": comparison.verdict,
        "measure": COLUMNS[comparison.measure],
        "measure_key": comparison.measure,
        "data_kind": DATA_KINDS.get(str(meta.get("real")), "of unknown origin"),
        "student": model_name(meta.get("student_identity")),
        "teacher": model_name(meta.get("teacher_identity")),
        "rows": rows,
        "row_meanings": {name: row_of(name) for name in rows},
        "tables": [("Finding: what each row retrieves", retrieval), ("Likeness: how near the vectors are", alignment)],
        "headings": {**COLUMNS, **TIME_COLUMNS},
        "meanings": MEANINGS,
        "times": evaluation.times,
        "time_columns": list(TIME_COLUMNS),
        "intervals": meta["intervals"][comparison.measure],
        "shares": meta["shares"],
        "differences": _differences(meta, comparison.measure),
        "alarms": meta["alarms"],
        "groups": groups,
        "group_count": group_count,
        "failures": examples.worst_queries(comparison),
        "confidence": meta.get("confidence"),
        "confidence_words": confidence_words(meta["confidence"]) if "confidence" in meta else [],
        "curve": evaluation.curve,
        "curve_words": _curve_words(evaluation),
        "splits": {split: table for split, table in evaluation.other_splits.items()},
        "limits": LIMITS,
        "missing": [f"`{name}`" for name in meta.get("left_out_rows", [])],
    }


def _differences(meta: Mapping[str, Any], measure: str) -> list[tuple[str, Mapping[str, float], str]]:
    found = []
    for name, interval in meta["differences"][measure].items():
        if interval is not None and name != "aligned - aligned":
            beyond = "beyond chance" if interval["low"] > 0 or interval["high"] < 0 else "could be chance"
            found.append((name, interval, beyond))
    return found


def _curve_words(evaluation: Evaluation) -> str:
    curve, measure = evaluation.curve, COLUMNS[evaluation.comparison.measure]
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


def draw(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """The plots: question, SVG, answer in words."""
    comparison = evaluation.comparison
    rows, measure = comparison.rows, COLUMNS[comparison.measure]
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
            f"The first ten hits through the head hold {curves['aligned'][min(9, len(curves['aligned']) - 1)]:.0%} of "
            "what there is to find"
            + (f", the first {len(curves['aligned'])} hold {curves['aligned'][-1]:.0%}: a cascade can get that far."),
        )
    )
    total_ms = {name: row["total_ms"] for name, row in evaluation.times.items() if row["total_ms"] is not None}
    if total_ms:
        quality = {name: rows[name][comparison.measure] or 0.0 for name in total_ms}
        drawn.append(
            (
                "What does a query cost for that quality?",
                plots.frontier_plot(quality, total_ms, measure),
                "Up and to the left is better. Times are of this machine's CPU, one query at a time.",
            )
        )
    drawn.append(
        (
            "Does the aligned space look like the teacher's?",
            plots.map_plot(comparison),
            "Each grey line joins the two vectors of one text. Blue points drawn to the middle are texts that the head "
            "makes too average; two dimensions show a small part of the space.",
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
                _curve_words(evaluation),
            )
        )
    return drawn


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
