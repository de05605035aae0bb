"""What an evaluation found, to be looked at: a table in a terminal, a page in a notebook, files in a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.evaluation.outcome import Evaluation
from alignkit.evaluation.verdict import Verdict
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.report_files import html_page, write_report


class Report:
    """The rows, the intervals and the verdict of one evaluation.

    In a notebook a report shows itself as a page with plots; `str(report)` is the verdict and the table.

    Args:
        evaluation: what was found.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    @property
    def verdict(self) -> Verdict:
        """`name`, `headline` and `reasons`."""
        return self.evaluation.comparison.verdict

    @property
    def rows(self) -> dict[str, dict[str, float | None]]:
        """Row name → figures, as in `metrics.json`: `rows["aligned"]["ndcg@10"]`."""
        return self.evaluation.rows

    @property
    def meta(self) -> Mapping[str, Any]:
        """What stands beside the rows in `metrics.json`: intervals, shares, alarms, sizes, seeds."""
        return self.evaluation.meta

    def show(self) -> None:
        """In a notebook the page with plots; elsewhere the verdict and the table, on stdout."""
        if _in_notebook():
            from IPython.display import HTML, display

            display(HTML(self._repr_html_()))
        else:
            sys.stdout.write(f"{self}\n")

    def save(self, folder: str | Path, *, html: bool = True) -> None:
        """Write `metrics.json`, `alignment_metrics.csv`, `alignment_report.md` and, with `html`, `report.html`.

        Raises:
            AlignkitError: if a file cannot be written.
        """
        write_report(self.evaluation, Path(folder).expanduser(), html=html)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=80, no_color=True, file=None, force_terminal=False)
        with console.capture() as captured:
            for line in console_words(self.evaluation):
                console.print(line, highlight=False, markup=False)
            console.print()
            console.print(console_rows(self.evaluation))
        return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())

    def __repr__(self) -> str:
        return f"Report({self.verdict.name}: {self.verdict.headline})"

    def _repr_html_(self) -> str:
        # in a frame of its own, so that neither page's style touches the other's
        from html import escape

        page = escape(html_page(self.evaluation), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:720px;border:0"></iframe>'


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")
