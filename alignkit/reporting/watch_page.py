"""The files of a look: `metrics.json`, and `report.html` with the course over time."""

from __future__ import annotations

import json
from pathlib import Path

from alignkit.files import write_whole
from alignkit.language.speaking import TAGS, say, spoken, told
from alignkit.reporting import watch_words
from alignkit.reporting.drawing import axes_of, drawn, svg_of
from alignkit.reporting.report_files import render
from alignkit.watching.standing import Judged
from alignkit.watching.watched import Watched


def write_watch(watched: Watched, folder: Path, *, html: bool = True) -> None:
    """Write both; `metrics.json` last, so that where it is the other is.

    Raises:
        AlignkitError: if a file cannot be written.
    """
    text = json.dumps(watched.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if html:
        write_whole(folder / "report.html", watch_page(watched))
    write_whole(folder / "metrics.json", text)


def watch_page(watched: Watched) -> str:
    """The page, whole: styles and the picture are in it."""
    judged = watched.judged
    return render(
        "watch.html.j2",
        watched=watched,
        judged=judged,
        verdict=judged.standing.value if judged else "none",
        language=TAGS[spoken()],
        notes=[*map(told, watched.notes)],
        place=told(watched.place) if watched.place else None,
        headline=watch_words.headline(watched),
        reasons=watch_words.reasons(watched),
        models=watch_words.model_lines(watched),
        unlike=watch_words.unlike_line(watched),
        columns=watch_words.GROUP_COLUMNS,
        meanings={column: say(meaning) for column, meaning in watch_words.COLUMN_MEANINGS.items()},
        cells=watch_words.group_cells,
        evidence=watch_words.evidence_words,
        plot=course_plot(judged) if judged else None,
    )


@drawn
def course_plot(judged: Judged) -> str:
    """Overlap of each look with its interval, the reference's as a band."""
    axes = axes_of(say("look"), say("share of the teacher's ten nearest texts found"))
    points = [(one.number, one.means.overlap) for one in judged.course if one.means is not None]
    if points:
        errors = [[one.value - one.low for _, one in points], [one.high - one.value for _, one in points]]
        axes.errorbar(
            [at for at, _ in points], [one.value for _, one in points], yerr=errors,
            fmt="o-", color="#0072B2", linewidth=1.5, capsize=3, label=say("live queries"),
        )  # fmt: skip
        axes.set_xlim(points[0][0] - 0.5, points[-1][0] + 0.5)  # one look alone is otherwise drawn on a scale of parts
    if judged.reference is not None:
        axes.axhline(
            judged.reference.overlap.value, color="#000000", linestyle="--", linewidth=1, label=told(judged.of)
        )
        axes.axhspan(judged.reference.overlap.low, judged.reference.overlap.high, color="#000000", alpha=0.08)
    axes.locator_params(axis="x", integer=True)
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return svg_of(axes)
