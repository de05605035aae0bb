"""The report of an evaluation: `metrics.json`, `alignment_metrics.csv`, `alignment_report.md` and `report.html`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from alignkit.evaluation.result import Result
from alignkit.files import appearing_together, write_whole
from alignkit.language.speaking import say, template
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import csv_text, number
from alignkit.reporting.metrics_file import metrics_text
from alignkit.reporting.pictures import draw
from alignkit.reporting.report_words import report_words

TEMPLATES = Path(__file__).parent / "templates"


def write_report(result: Result, folder: Path, *, html: bool = True) -> None:
    """Write the four files; `metrics.json` last, so that where it is the others are.

    Args:
        result: what to report.
        folder: made where it is missing.
        html: also the page with plots (matplotlib is imported for it).

    Raises:
        AlignkitError: if a file cannot be written.
    """
    page = {"report.html": html_page(result)} if html else {}
    # all of them before the first is written: what cannot be rendered leaves no half of a report
    documents = {
        "alignment_report.md": render("report.md.j2", **report_words(result)),
        "alignment_metrics.csv": csv_text(result),
        **page,
    }
    last = metrics_text(result)
    with appearing_together(folder) as unfinished:
        for name, text in documents.items():
            write_whole(unfinished / name, text, "utf-8-sig" if name.endswith(".csv") else "utf-8")
    write_whole(folder / "metrics.json", last)


def html_page(result: Result) -> str:
    """The page with plots, whole: styles and pictures are in it."""
    return render("report.html.j2", plots=draw(result), **report_words(result))


def render(name: str, **values: Any) -> str:
    """Fill a template of this room; in HTML everything is escaped that is not marked as safe."""
    return _environment().get_template(name).render(**values)


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
    environment.globals |= {"say": say, "say_html": _say_html}
    environment.filters |= {
        "figure": number,
        "share": _share,
        "ends": _ends,
        "share_ends": _share_ends,
        "cell": _markdown_cell,
        "short": _short,
    }
    return environment


def _ends(interval: Interval) -> str:
    return say("{low} to {high}", low=number(interval.low), high=number(interval.high))


def _share_ends(share: Interval | None) -> str:
    return "-" if share is None else say("{value:.1%} ({low:.1%} to {high:.1%})", **vars(share))


def _say_html(english: str, /, **values: Any) -> Any:
    """A sentence with HTML's own marks; what is put into it is escaped."""
    from markupsafe import Markup

    return Markup(template(english)).format(**values)


def _share(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.0%}"


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def _short(text: str, length: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 3]}..."
