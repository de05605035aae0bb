"""The report of an evaluation: `metrics.json`, `alignment_metrics.csv`, `alignment_report.md` and `report.html`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.evaluation import examples
from alignkit.evaluation.columns import Column
from alignkit.evaluation.confidence_figures import confidence_words
from alignkit.evaluation.outcome import Evaluation
from alignkit.evaluation.same_models import model_name
from alignkit.files import appearing_together, write_whole
from alignkit.reporting.figure_tables import csv_text, json_text, number
from alignkit.reporting.glossary import HEADINGS, LIMITS, MEANINGS, SHARE_MEANING, TIME_COLUMNS, row_of
from alignkit.reporting.pictures import curve_words, draw

TEMPLATES = Path(__file__).parent / "templates"
DATA_KINDS = {"True": "real data", "False": "synthetic data"}


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
    page = {"report.html": html_page(evaluation)} if html else {}
    # all of them before the first is written: what cannot be rendered leaves no half of a report
    documents = {
        "alignment_report.md": render("report.md.j2", **words),
        "alignment_metrics.csv": csv_text({"test": evaluation.rows} | dict(evaluation.other_splits)),
        **page,
        "metrics.json": json_text(evaluation.rows, evaluation.meta),
    }
    last = documents.pop("metrics.json")
    with appearing_together(folder) as unfinished:
        for name, text in documents.items():
            write_whole(unfinished / name, text, "utf-8-sig" if name.endswith(".csv") else "utf-8")
    write_whole(folder / "metrics.json", last)


def html_page(evaluation: Evaluation) -> str:
    """The page with plots, whole: styles and pictures are in it."""
    return render("report.html.j2", plots=draw(evaluation), **report_words(evaluation))


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
    environment.filters |= {"figure": number, "share": _share, "cell": _markdown_cell}
    return environment


def _share(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.0%}"


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def report_words(evaluation: Evaluation) -> dict[str, Any]:
    """All that both templates say, as plain values."""
    comparison = evaluation.comparison
    meta, rows = evaluation.meta, evaluation.rows
    present = [key for key in Column if any(row.get(key) is not None for row in rows.values())]
    alignment = [key for key in present if key not in comparison.figures and key != "human_spearman"]
    retrieval = [key for key in present if key not in alignment]
    groups, group_count = examples.worst_groups(comparison)
    return {
        "meta": meta,
        "notes": [*meta["notes"], *meta.get("doubts", [])],
        "verdict": comparison.verdict,
        "measure": Column(comparison.measure).heading,
        "measure_key": comparison.measure,
        "data_kind": DATA_KINDS.get(str(meta.get("real")), "not stated whether real or synthetic"),
        "student": model_name(meta.get("student_identity")),
        "teacher": model_name(meta.get("teacher_identity")),
        "rows": rows,
        "row_meanings": {name: row_of(name) for name in rows},
        "tables": [("Finding: what each row retrieves", retrieval), ("Likeness: how near the vectors are", alignment)],
        "headings": HEADINGS,
        "share_columns": [key for key in Column if any(row.get(f"{key}_share") is not None for row in rows.values())],
        "share_meaning": SHARE_MEANING,
        "meanings": MEANINGS,
        "times": {name: evaluation.times[name] for name in rows if name in evaluation.times},
        "time_columns": list(TIME_COLUMNS),
        "timed": meta.get("timed", {}),
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
        "curve_words": curve_words(evaluation),
        "splits": {split: table for split, table in evaluation.other_splits.items()},
        "limits": LIMITS,
        "missing": [f"`{name}`" for name in meta.get("left_out_rows", [])],
    }


def _differences(meta: Mapping[str, Any], measure: str) -> list[tuple[str, Mapping[str, float], str]]:
    found = []
    for name, interval in meta["differences"][measure].items():
        if interval is not None and name != "aligned - aligned":
            beyond = "beyond chance" if interval["low"] > 0 or interval["high"] < 0 else "could be chance"
            if interval["low"] == interval["high"] == 0:
                beyond = "the same for every query"
            found.append((name, interval, beyond))
    return found
